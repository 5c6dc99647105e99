"""Trading dates of whole columns: what New York's clocks differ from UTC, looked up once, and added."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, TradingDate

Int64s = npt.NDArray[np.int64]

FIRST_DAY, YEARS = date(1970, 1, 1), range(1970, 2101)
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
LAST_MOMENT: Final = int(datetime(YEARS[-1], 12, 31, tzinfo=UTC).timestamp()) * SECOND


def day_numbers(epoch_micros: npt.NDArray[Any]) -> Int64s:
    """For each timestamp the number of its New York date; ascending timestamps give ascending numbers.

    What lies before 1970 falls on its last day before, what lies after 2100 on its last day.
    """
    since, offsets = _changes()
    moments = np.clip(epoch_micros, -1, LAST_MOMENT)
    numbers: Int64s = (moments + offsets[np.searchsorted(since, moments, side="right")]) // DAY
    return numbers


@lru_cache(maxsize=16384)
def trading_date(day_number: int) -> TradingDate:
    return TradingDate(FIRST_DAY + timedelta(days=day_number))


@lru_cache(maxsize=1)
def _changes() -> tuple[Int64s, Int64s]:
    """When New York changes its clocks, and what they differ from UTC before, between and after."""
    months = [int(datetime(year, month, 1, tzinfo=UTC).timestamp()) for year in YEARS for month in range(1, 13)]
    since = list(_changes_between(months))
    offsets = [_offset(months[0]), *(_offset(moment) for moment in since)]
    return np.array(since, np.int64) * SECOND, np.array(offsets, np.int64) * SECOND


def _changes_between(moments: list[int]) -> Iterator[int]:
    """No month has two."""
    for before, after in pairwise(moments):
        if _offset(before) != _offset(after):
            while after - before > 1:
                middle = (before + after) // 2
                before, after = (middle, after) if _offset(middle) == _offset(before) else (before, middle)
            yield after


def _offset(moment: int) -> int:
    """In seconds."""
    offset = datetime.fromtimestamp(moment, NEW_YORK).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
