"""The stored minutes of many symbols: from read copies that agree with their day files, and from day files.

Whatever reads minutes between two dates reads them here. See ADR 0041.
"""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Final

import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition, day_file
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import Scanned
from marketpipe.storage.infrastructure.aggregates.read_copies import MOST_KEPT, FreshCopies, FreshCopy, OpenedCopies
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.parquet_files import map_in_threads, times_of
from marketpipe.storage.infrastructure.reading.month_bars import minutes_at, places_of
from marketpipe.storage.infrastructure.store_layout import StoreLayout

DAYS_FASTER_ALONE: Final = 2
"""So few days are read faster from their day files than cut out of a Parquet copy of the month."""
ALL_COLUMNS: Final = tuple(BAR_SCHEMA.names)
Hours = Callable[[pa.Table], pa.Table]
"""Returns those of the bars that are in the wanted hours."""


@frozen
class BarRange:
    """The bars of one symbol and timeframe between two trading dates, both inclusive."""

    symbol: Symbol
    first: TradingDate
    last: TradingDate
    timeframe: Timeframe
    columns: tuple[str, ...] = ALL_COLUMNS
    """Those of the canonical columns that are wanted; ``timestamp`` is one of them."""

    @cached_property
    def schema(self) -> pa.Schema:
        if self.columns == ALL_COLUMNS:
            return BAR_SCHEMA
        return pa.schema([BAR_SCHEMA.field(name) for name in self.columns])

    @property
    def is_of_minutes(self) -> bool:
        return self.timeframe is Timeframe.MINUTE_1

    def days(self) -> Iterator[SymbolDay]:
        count = (self.last.day - self.first.day).days + 1
        return (SymbolDay(self.symbol, self.first.plus_days(i)) for i in range(count))

    def months_of_aggregates(self, layout: StoreLayout) -> dict[str, list[MonthPartition]]:
        """Return the paths where these bars would be, each with those of its months that are wanted, ascending."""
        found = defaultdict[str, list[MonthPartition]](list)
        for month, _ in self.months():
            found[layout.aggregate(self.timeframe, month)].append(month)
        return found

    def day_files(self, layout: StoreLayout) -> Iterator[tuple[MonthPartition, list[Path]]]:
        """Yield the months, each with the day files that it has between the dates. Raises ``StorageError``."""
        for month, days in self.months():
            names = {day_file(day) for day in days}
            yield month, [path for path in layout.day_files(month) if path.name in names]

    def official_files(self, layout: StoreLayout) -> list[str]:
        """Return the paths where the exchange's own days would be, ascending."""
        years = range(self.first.day.year, self.last.day.year + 1)
        return [str(layout.official_days(self.symbol, year)) for year in years]

    def within(self, bars: pa.Table) -> pa.Table:
        """Return the bars of these dates; a file of aggregates has others too."""
        start, end = (day.midnight.epoch_micros for day in (self.first, self.last.plus_days(1)))
        times = times_of(bars)
        inside = (times >= start) & (times < end)
        return bars if inside.all() else bars.filter(pa.array(inside))

    def months(self) -> Iterator[tuple[MonthPartition, range]]:
        """Yield the months, each with those of its days that are wanted."""
        first, last = self.first.day, self.last.day
        year, month = first.year, first.month
        while (year, month) <= (last.year, last.month):
            start = first.day if (year, month) == (first.year, first.month) else 1
            ends_here = (year, month) == (last.year, last.month)
            end = last.day if ends_here else calendar.monthrange(year, month)[1]
            yield MonthPartition(self.symbol, year, month), range(start, end + 1)
            year, month = year + month // 12, month % 12 + 1

    def __str__(self) -> str:
        return f"{self.symbol} between {self.first} and {self.last}"


@frozen
class MonthPart:
    """The days that are wanted of a month, and its fresh copy; None: they are read from their day files."""

    wanted: BarRange
    month: MonthPartition
    days: range
    copy: FreshCopy | None


class StoredMinutes:
    """Reads minutes, by all processors if there are many files. Memory is that of the answer, and of a month each."""

    def __init__(
        self, layout: StoreLayout, opened: OpenedCopies | None = None, identity: StoredIdentity | None = None
    ) -> None:
        """``opened`` keeps the copies that are read; without it each is opened when it is read. ``identity`` finds the
        dataset of the store; without it one is made.
        """
        self._layout, self._opened, self._identity = layout, opened, identity or StoredIdentity(layout)

    def read(
        self, ranges: Sequence[BarRange], hours: Hours = lambda bars: bars, scanned: Scanned | None = None
    ) -> list[pa.Table]:
        """Return the minutes of each range, by time. What is not wanted of a month is dropped as it is read.

        ``scanned`` finds fingerprints of day files. Raises ``PartitionUnreadableError``.
        """
        copies = FreshCopies(self._layout, self._identity.read, scanned, self._opened)
        parts = [list(self._parts(wanted, copies)) for wanted in ranges]
        mapped = sum(map(_is_mapped, chain.from_iterable(parts))) <= MOST_KEPT
        files = [list(chain.from_iterable(map(self._files, some))) for some in parts]

        def read(file: MonthPart | tuple[BarRange, str]) -> pa.Table | None:
            return self._read(file, hours, mapped=mapped)

        # A mapped copy is opened, and nothing of it is read: threads would only wait for each other.
        every = list(chain.from_iterable(files))
        at_once = {place: read(file) for place, file in enumerate(every) if mapped and _is_mapped(file)}
        left = [file for place, file in enumerate(every) if place not in at_once]
        others = iter(map_in_threads(read, left, self._layout.machine))
        found = iter([at_once[place] if place in at_once else next(others) for place in range(len(every))])
        return [in_one(islice(found, len(some)), wanted.schema) for wanted, some in zip(ranges, files, strict=True)]

    def of_copy(self, month: MonthPartition, days: Sequence[int], columns: pa.Schema) -> pa.Table | None:
        """Return these days of a month, all that are stored of it between the first and the last; None without a fresh
        copy, or if the copy has others between them.
        """
        between, copies = range(days[0], days[-1] + 1), FreshCopies(self._layout, self._identity.read)
        if (copy := copies.of(month)) is None or (opened := copy.opened()) is None:
            return None
        try:
            return opened.bars(columns, between) if [day for day in opened.rows if day in between] == [*days] else None
        except PartitionUnreadableError:  # torn, which is as good as none
            return None

    def _parts(self, wanted: BarRange, copies: FreshCopies) -> Iterator[MonthPart]:
        for month, days in wanted.months():
            copy = copies.of(month)
            if copy is not None and not copy.is_arrow and len(days) <= DAYS_FASTER_ALONE:
                copy = None
            yield MonthPart(wanted, month, days, copy)

    def _files(self, part: MonthPart) -> Iterable[MonthPart | tuple[BarRange, str]]:
        return [part] if part.copy is not None else self._day_files(part)

    def _day_files(self, part: MonthPart) -> list[tuple[BarRange, str]]:
        places = places_of(str(self._layout.month(part.month)), part.days, self._layout.disk)
        return [(part.wanted, place) for place in places]

    def _read(self, file: MonthPart | tuple[BarRange, str], hours: Hours, *, mapped: bool) -> pa.Table | None:
        if isinstance(file, MonthPart):
            bars = None if file.copy is None else file.copy.bars(file.wanted.schema, file.days, mapped=mapped)
            if bars is None:  # a copy that is torn is as good as none
                bars = in_one(map(self._day, self._day_files(file)), file.wanted.schema)
        else:
            bars = self._day(file)
        return None if bars is None else hours(bars)

    def _day(self, file: tuple[BarRange, str]) -> pa.Table | None:
        wanted, place = file
        try:
            return minutes_at(place, wanted.schema, self._layout.disk)
        except PartitionUnreadableError as error:
            raise damaged(wanted, error) from error


def _is_mapped(file: MonthPart | tuple[BarRange, str]) -> bool:
    return isinstance(file, MonthPart) and file.copy is not None and file.copy.is_arrow


def damaged(wanted: BarRange, error: PartitionUnreadableError) -> PartitionUnreadableError:
    """Return an error that says which bars were wanted; that of a month names them."""
    if isinstance(error, MonthUnreadableError):
        return error
    of_range = PartitionUnreadableError(f"a file of {wanted} is damaged: {error}")
    of_range.advice = error.advice
    return of_range


def in_one(tables: Iterable[pa.Table | None], schema: pa.Schema = BAR_SCHEMA) -> pa.Table:
    found = [bars for bars in tables if bars is not None]
    return pa.concat_tables(found) if found else schema.empty_table()
