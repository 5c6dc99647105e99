from __future__ import annotations

import os
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date

from marketpipe.shared_kernel.domain.store_inventory import FileAppearance, FileCondition, RecordedFile
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregate_freshness import (
    AggregateFile,
    MinutesNow,
    aggregate_files,
    years_between,
)
from marketpipe.storage.infrastructure.day_files import date_in, entries_of, looking_into, modified_ns, number_in
from marketpipe.storage.infrastructure.parquet_writer import sha256
from marketpipe.storage.infrastructure.seen_months import Look, SeenMonths, look_at
from marketpipe.storage.infrastructure.store_layout import DAY_FILE, YEAR_FOLDER, StoreLayout

AGGREGATED = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.MINUTE_1)


class FileInventory:
    """Looks into the folders of the months asked for, and opens only files that look other than they should."""

    def __init__(self, layout: StoreLayout, seen: SeenMonths | None = None) -> None:
        """``seen`` is told of what ``appearances`` sees."""
        self._layout, self._seen = layout, seen

    def dates(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> frozenset[TradingDate]:
        return frozenset(TradingDate(day) for day, _ in self._day_files(symbol, first.day, last.day))

    def appearances(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, FileAppearance]:
        start, end, found = first.day, last.day, dict[date, FileAppearance]()
        for year, months in self._years(symbol, start, end):
            with looking_into(self._layout.data):
                folder = f"{self._layout.data}/symbol={symbol}/year={year:04d}"
                looks = {month: look_at(f"{folder}/month={month:02d}") for month in months}
            if self._seen is not None:
                self._seen.note(symbol, year, looks)
            for month in months:
                found.update(_appearances(year, month, looks[month]))
        if not found or (start <= next(iter(found)) and next(reversed(found)) <= end):
            return found  # they ascend
        return {day: look for day, look in found.items() if start <= day <= end}

    def conditions(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, recorded: Mapping[TradingDate, RecordedFile]
    ) -> Mapping[TradingDate, FileCondition]:
        """Ascending. A file that proves to be the recorded one gets its recorded time back."""
        missing = {day.day: file for day, file in recorded.items() if first.day <= day.day <= last.day}
        found: dict[date, FileCondition | None] = {}
        with looking_into(self._layout.data):
            for day, entry in self._day_files(symbol, first.day, last.day):
                known = missing.pop(day, None)
                found[day] = FileCondition.UNRECORDED if known is None else _condition(entry, known)
        found.update(dict.fromkeys(missing, FileCondition.GONE))
        return {TradingDate(day): condition for day, condition in sorted(found.items()) if condition is not None}

    def stale_aggregates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, tuple[str, ...]]:
        """By date, then length. Exactly what a refresh would make anew, but for aggregates that nobody ever made."""
        found: defaultdict[TradingDate, list[str]] = defaultdict(list)
        for year, wanted in years_between(self._layout, symbol, first, last):
            minutes = MinutesNow(self._layout, year, AGGREGATED)
            for file in aggregate_files(self._layout, year, wanted, AGGREGATED):
                for day in _stale_dates(file, minutes):
                    if first <= day <= last:
                        found[day].append(str(file.timeframe))
        return {day: tuple(found[day]) for day in sorted(found)}

    def _day_files(self, symbol: Symbol, first: date, last: date) -> Iterator[tuple[date, os.DirEntry[str]]]:
        for month in self._months(symbol, first, last):
            for entry in entries_of(self._layout.month(month), DAY_FILE):
                day = date_in(month, number_in(entry.name))
                if day is not None and first <= day <= last:
                    yield day, entry

    def _months(self, symbol: Symbol, first: date, last: date) -> Iterator[MonthPartition]:
        for year, months in self._years(symbol, first, last):
            yield from (MonthPartition(symbol, year, month) for month in months)

    def _years(self, symbol: Symbol, first: date, last: date) -> Iterator[tuple[int, list[int]]]:
        """Those that have a folder, and their months, between the dates: decades without any cost no look at each."""
        start, end = (first.year, first.month), (last.year, last.month)
        for folder in entries_of(self._layout.data / f"symbol={symbol}", YEAR_FOLDER):
            year = number_in(folder.name)
            if months := [month for month in range(1, 13) if start <= (year, month) <= end]:
                yield year, months


def _appearances(year: int, month: int, looks: Iterable[Look]) -> dict[date, FileAppearance]:
    """Without somebody else's day=99.parquet."""
    days = range(1, monthrange(year, month)[1] + 1)
    return {
        date(year, month, day): (size, modified_ns // 1000)
        for name, size, modified_ns in looks
        if (day := int(name[4:6])) in days
    }


def _condition(entry: os.DirEntry[str], recorded: RecordedFile) -> FileCondition | None:
    try:
        look = entry.stat()
    except FileNotFoundError:
        return FileCondition.GONE  # a moment ago, or a link to nowhere
    if look.st_size != recorded.size_bytes:
        return FileCondition.ALTERED
    known_since = recorded.known_since.epoch_micros
    if known_since and look.st_mtime_ns // 1000 == known_since:
        return None
    return None if _proves_to_be(entry.path, recorded.sha256, known_since) else FileCondition.ALTERED


def _proves_to_be(path: str, digest: str, known_since: int) -> bool:
    """By its digest. ``known_since`` is in microseconds since 1970, 0 where nobody knows it."""
    with open(path, "rb") as file:
        if sha256(file.read()) != digest:
            return False
        if known_since:
            _set_modified(file.fileno(), known_since * 1000)
        return True


def _set_modified(file: int | os.PathLike[str], modified_ns: int) -> None:
    """A tree that was copied without its times gets them back, and the next look is quick again.

    Where that is not allowed, as in a store that is read-only, every look is a slow one, and as true.
    """
    with suppress(OSError):
        os.utime(file, ns=(modified_ns, modified_ns))


def _stale_dates(file: AggregateFile, minutes: MinutesNow) -> Iterator[TradingDate]:
    if modified_ns(file.location) is None:
        return  # nobody made it
    compared = minutes.compare(file)
    if compared is not None:
        if not compared.changed:
            _set_modified(file.path, compared.stamp)
        yield from compared.changed_dates()
