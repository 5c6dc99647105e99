"""Trading dates of whole columns of timestamps.

Converting each timestamp with ``zoneinfo`` makes several Python objects per bar. New York changes its clocks only twice
a year, so its offsets from UTC are looked up once, and the date of a timestamp is found by a binary search and an
addition on the whole column.
"""

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
"""In microseconds, like all moments here that are not named otherwise."""
DAY: Final = 86_400 * SECOND
HOUR: Final = 3_600
"""In seconds."""
LAST_MOMENT: Final = int(datetime(YEARS[-1], 12, 31, tzinfo=UTC).timestamp()) * SECOND


def day_numbers(epoch_micros: npt.NDArray[Any]) -> Int64s:
    """Return for each timestamp the number of its New York date, counted from 1970-01-01.

    Ascending timestamps give ascending numbers. Timestamps before 1970 get the number of its last day before, those
    after 2100 the number of the last day of 2100.
    """
    since, offsets = _clock_changes()
    moments = np.clip(epoch_micros, -1, LAST_MOMENT)
    numbers: Int64s = (moments + offsets[np.searchsorted(since, moments, side="right")]) // DAY
    return numbers


@lru_cache(maxsize=16384)
def trading_date(day_number: int) -> TradingDate:
    """Return the date with that number; the same object each time."""
    return TradingDate(FIRST_DAY + timedelta(days=day_number))


@lru_cache(maxsize=1)
def _clock_changes() -> tuple[Int64s, Int64s]:
    """Return when New York changes its clocks, ascending, and its offsets from UTC before, between and after that."""
    months = [int(datetime(year, month, 1, tzinfo=UTC).timestamp()) for year in YEARS for month in range(1, 13)]
    since = list(_changes_within(months))
    offsets = [_offset(months[0]), *(_offset(moment) for moment in since)]
    return np.array(since, np.int64) * SECOND, np.array(offsets, np.int64) * SECOND


def _changes_within(moments: list[int]) -> Iterator[int]:
    """Find each change by bisection, in seconds since 1970; no month has two changes, and none is within an hour."""
    offset = _offset(moments[0])
    for before, after in pairwise(moments):
        if _offset(after) != offset:
            while after - before > HOUR:
                middle = before + (after - before) // HOUR // 2 * HOUR
                before, after = (middle, after) if _offset(middle) == offset else (before, middle)
            yield after
            offset = _offset(after)


def _offset(moment: int) -> int:
    """Return the offset from UTC in seconds."""
    offset = datetime.fromtimestamp(moment, NEW_YORK).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
