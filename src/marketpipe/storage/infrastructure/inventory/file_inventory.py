"""Which day files a store has, by its folders, and which of them differ from their records.

Planning lists folders and opens no file that has its recorded mark, or each run would read the whole store. So bits
that rot under an unchanged time are found only by ``ParquetStoredFiles``, which reads every byte.
"""

from __future__ import annotations

import os
import stat
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial

from marketpipe.shared_kernel.domain.store_inventory import (
    RecordedVersion,
    VersionCondition,
    VersionMark,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, read_all
from marketpipe.storage.domain.data_partition import size_and_time_in
from marketpipe.storage.infrastructure.aggregates.aggregate_files import aggregate_files, years_between
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import ScannedYears
from marketpipe.storage.infrastructure.aggregates.year_freshness import YearFreshness
from marketpipe.storage.infrastructure.compacted.day_access import read_day
from marketpipe.storage.infrastructure.day_versions import (
    file_mark,
)
from marketpipe.storage.infrastructure.inventory.day_file_scans import year_folders
from marketpipe.storage.infrastructure.parquet_files import sha256
from marketpipe.storage.infrastructure.store_layout import (
    GONE,
    STRANGE,
    DayFile,
    StoreLayout,
    date_of,
    modified_ns,
    scan_readable_days,
)


class FileInventory:
    """Lists the folders of the months asked for, and opens a file only if it is not as it was recorded."""

    def __init__(
        self,
        layout: StoreLayout,
        scanned: ScannedYears | None = None,
        closing_auction: Callable[[], int | None] = lambda: None,
        scan: Callable[[str], tuple[Sequence[DayFile], bool]] | None = None,
    ) -> None:
        """``scanned`` receives the files that ``marks`` finds; they are those that ``scan`` returns of a folder,
        and whether it has a damaged month file. None: the folder is scanned.

        ``closing_auction`` is called if there are aggregates; it returns that of the daily bars which are fresh.
        """
        self._disk = layout.disk
        self._scan = scan or partial(scan_readable_days, disk=self._disk)
        self._layout, self._scanned, self._closing_auction = layout, scanned, closing_auction

    def dates(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> frozenset[TradingDate]:
        return frozenset(TradingDate(day) for day, _, _ in self._day_files(symbol, first.day, last.day, set()))

    def marks(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, VersionMark]:
        start, end, found = first.day, last.day, dict[date, VersionMark]()
        for year, folders in year_folders(self._layout, symbol, start, end):
            scans = {month: self._scan(folder) for month, folder in folders.items()}
            day_files = {month: files for month, (files, _) in scans.items()}
            if self._scanned is not None and not any(is_damaged for _, is_damaged in scans.values()):
                self._scanned.note(symbol, year, day_files)
            for month in folders:
                found.update(_marks(year, month, day_files[month]))
        if not found or (start <= next(iter(found)) and next(reversed(found)) <= end):
            return found  # they ascend
        return {day: mark for day, mark in found.items() if start <= day <= end}

    def conditions(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, recorded: Mapping[TradingDate, RecordedVersion]
    ) -> Mapping[TradingDate, VersionCondition]:
        """Dates ascend. A file with the recorded bytes gets the time back that its recorded mark contains."""
        missing = {day.day: file for day, file in recorded.items() if first.day <= day.day <= last.day}
        found: dict[date, VersionCondition | None] = {}
        damaged = set[tuple[int, int]]()
        for day, folder, file in self._day_files(symbol, first.day, last.day, damaged):
            known = missing.pop(day, None)
            found[day] = VersionCondition.UNRECORDED if known is None else _condition(folder, file, known, self._disk)
        for day in missing:
            is_damaged = (day.year, day.month) in damaged
            found[day] = VersionCondition.ALTERED if is_damaged else VersionCondition.GONE
        return {TradingDate(day): condition for day, condition in sorted(found.items()) if condition is not None}

    def stale_aggregates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, tuple[str, ...]]:
        """By date, then length: what a refresh would rebuild, without the aggregates that do not exist."""
        found: defaultdict[TradingDate, list[str]] = defaultdict(list)
        made = [timeframe for timeframe in self._layout.timeframes() if timeframe.is_aggregated]
        for year, wanted in years_between(self._layout, symbol, first, last) if made else ():
            files = aggregate_files(self._layout, year, wanted, made)
            existing = [file for file in files if modified_ns(file.path, self._disk) is not None]
            freshness = YearFreshness(self._layout, year, made, self._closing_auction() if existing else None)
            # A month with a file that cannot be read is passed over: that day has a verdict of its own.
            for stale in freshness.stale(existing, lambda _, __: None):
                for day in stale.changed_dates():
                    if first <= day <= last:
                        found[day].append(str(stale.file.timeframe))
        return {day: tuple(found[day]) for day in sorted(found)}

    def _day_files(
        self, symbol: Symbol, first: date, last: date, damaged: set[tuple[int, int]]
    ) -> Iterator[tuple[date, str, DayFile]]:
        """Yield the files between the dates, each with its date and its folder.

        Those in a damaged month file are left out; its year and month are added to ``damaged``.
        """
        for year, folders in year_folders(self._layout, symbol, first, last):
            for month, folder in folders.items():
                files, is_damaged = scan_readable_days(folder, self._disk)
                if is_damaged:
                    damaged.add((year, month))
                for file in files:
                    day = date_of(year, month, file[0])
                    if day is not None and first <= day <= last:
                        yield day, folder, file


def _marks(year: int, month: int, day_files: Iterable[DayFile]) -> dict[date, VersionMark]:
    """Skip a foreign ``day=99.parquet``."""
    days = range(1, monthrange(year, month)[1] + 1)
    return {
        # What file_mark returns, without a call: hundreds of thousands of files pass through here.
        date(year, month, day): f"{size}-{modified_ns // 1000}"
        for name, size, modified_ns in day_files
        if (day := int(name[4:6])) in days
    }


def _condition(folder: str, file: DayFile, recorded: RecordedVersion, disk: Disk) -> VersionCondition | None:
    name, size, modified_ns = file
    if size == GONE:
        return VersionCondition.GONE
    if file_mark(size, modified_ns) == recorded.mark:
        return None
    recorded_size, modified_us = size_and_time_in(recorded.mark)
    if size == STRANGE or recorded_size not in (None, size):
        return VersionCondition.ALTERED
    try:
        is_same = _has_digest(f"{folder}/{name}", recorded.sha256, modified_us, disk)
        return None if is_same else VersionCondition.ALTERED
    except FileNotFoundError:
        return VersionCondition.GONE
    except OSError:  # of one file: the others keep their verdicts, and an ingestion replaces this one
        return VersionCondition.ALTERED


def _has_digest(path: str, digest: str, modified_us: int | None, disk: Disk) -> bool:
    """Return whether a file has the digest; if so it gets the time of its recorded mark back.

    So the next scan of a tree that was copied without times is quick again. ``modified_us`` is in microseconds since
    1970; None if it is unknown.
    """
    try:
        opened = disk.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for for ever
    except FileNotFoundError:
        if (found := read_day(path, disk)) is None:
            raise
        return sha256(found.content) == digest  # a month file keeps the times that it has
    try:
        if not stat.S_ISREG(disk.fstat(opened).st_mode) or sha256(read_all(disk, opened)) != digest:
            return False
        if modified_us is not None:
            with suppress(OSError):  # as in a read-only store: each comparison is a slow one then, and as true
                disk.utime(opened, ns=(modified_us * 1000, modified_us * 1000))
        return True
    finally:
        disk.close(opened)
