"""Counts of fresh, stale and absent aggregates and read copies. Opens no file of bars, and changes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.store_survey import TimeframeFreshness
from marketpipe.storage.infrastructure.aggregates.aggregate_files import (
    YearFreshness,
    aggregate_files,
    years_between,
)
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import AggregateFile
from marketpipe.storage.infrastructure.store_layout import PARQUET, StoreLayout, modified_ns

FRESH, STALE, ABSENT, UNREADABLE = "fresh", "stale", "absent", "cannot be examined"
NAMES_SHOWN: Final = 200


class FreshnessSurvey:
    """Compares the time of each aggregate file with the fingerprint of its minutes, as a refresh does first.

    A file with another time may still have the right bars, as in a copy without times: a refresh finds that out.
    """

    def __init__(
        self, layout: StoreLayout, closing_auction: Callable[[], int | None], copy_format: str = PARQUET
    ) -> None:
        """``copy_format`` is the form of the read copies, which are the files of a timeframe of one minute."""
        self._layout, self._closing_auction, self._copy_format = layout, closing_auction, copy_format

    def survey(
        self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate, timeframes: Sequence[Timeframe]
    ) -> tuple[TimeframeFreshness, ...]:
        """Return the counts of each of the timeframes, for files with dates between these, both inclusive."""
        counts, names = Counter[tuple[Timeframe, str]](), defaultdict[Timeframe, dict[str, str]](dict)
        auction = self._closing_auction() if Timeframe.DAY_1 in timeframes else None
        for symbol in symbols if timeframes else ():
            for year, wanted in years_between(self._layout, symbol, first, last):
                freshness = YearFreshness(self._layout, year, timeframes, auction)
                for file in aggregate_files(self._layout, year, wanted, timeframes, self._copy_format):
                    condition = _condition(freshness, file)
                    counts[file.timeframe, condition] += 1
                    if condition != FRESH and len(names[file.timeframe]) < NAMES_SHOWN:
                        names[file.timeframe][f"{symbol} {file.period}"] = condition
        return tuple(
            TimeframeFreshness(
                each,
                counts[each, FRESH],
                counts[each, STALE] + counts[each, UNREADABLE],
                counts[each, ABSENT],
                names[each],
            )
            for each in timeframes
        )


def _condition(freshness: YearFreshness, file: AggregateFile) -> str:
    try:
        if modified_ns(file.path) is None:
            return ABSENT
        return FRESH if freshness.is_fresh(file) else STALE
    except StorageError:
        return UNREADABLE
