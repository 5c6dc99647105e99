"""Counts of fresh, stale and absent aggregates and read copies. Opens no file of bars, and changes nothing."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, walk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.store_survey import CopyFiles, TimeframeFreshness
from marketpipe.storage.infrastructure.aggregates.aggregate_files import aggregate_files, years_between
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import AggregateFile
from marketpipe.storage.infrastructure.aggregates.year_freshness import YearFreshness
from marketpipe.storage.infrastructure.store_layout import COPY_FORMATS, StoreLayout, modified_ns

FRESH, STALE, ABSENT, UNREADABLE = "fresh", "stale", "absent", "cannot be examined"
NAMES_SHOWN: Final = 200


class FreshnessSurvey:
    """Compares the time of each aggregate file with the fingerprint of its minutes, as a refresh does first.

    A file with another time may still have the right bars, as in a copy without times: a refresh finds that out.
    """

    def __init__(self, layout: StoreLayout, closing_auction: Callable[[], int | None]) -> None:
        self._layout, self._closing_auction = layout, closing_auction

    def survey(
        self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate, timeframes: Sequence[Timeframe]
    ) -> tuple[TimeframeFreshness, ...]:
        """Return the counts of each of the timeframes, for files with dates between these, both inclusive."""
        counts, names = Counter[tuple[Timeframe, str]](), defaultdict[Timeframe, dict[str, str]](dict)
        auction = self._closing_auction() if Timeframe.DAY_1 in timeframes else None
        for symbol in symbols if timeframes else ():
            for year, wanted in years_between(self._layout, symbol, first, last):
                freshness = YearFreshness(self._layout, year, timeframes, auction)
                for file in aggregate_files(self._layout, year, wanted, timeframes):
                    condition = self._condition(freshness, file)
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

    def _condition(self, freshness: YearFreshness, file: AggregateFile) -> str:
        """Return that of a file; of a read copy that of all forms together, as one that is fresh is read in any."""
        if not file.is_copy:
            return _condition(freshness, file, self._layout.disk)
        paths = (self._layout.copy(file.months[0], form) for form in COPY_FORMATS)
        found = {_condition(freshness, evolve(file, path=path), self._layout.disk) for path in paths}
        return next(condition for condition in (FRESH, STALE, UNREADABLE, ABSENT) if condition in found)


def _condition(freshness: YearFreshness, file: AggregateFile, disk: Disk) -> str:
    try:
        if modified_ns(file.path, disk) is None:
            return ABSENT
        return FRESH if freshness.is_fresh(file) else STALE
    except StorageError:
        return UNREADABLE


def copy_files(folder: Path, configured: str, made: str, disk: Disk = REAL_DISK) -> CopyFiles:
    """Return which read copies lie in their folder; those that cannot be examined are left out."""
    numbers, size = Counter[str](), 0
    for within, _, names in walk(disk, folder):
        for name in names if "year=" in within else ():
            form = name.rpartition(".")[2]
            if form in COPY_FORMATS:
                with suppress(OSError):  # removed meanwhile
                    size += disk.stat(f"{within}/{name}").st_size
                    numbers[form] += 1
    return CopyFiles(configured, made, os.path.abspath(folder), dict(sorted(numbers.items())), size)
