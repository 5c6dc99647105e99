"""The modification time of an aggregate, which tells from which state of its day files it was made. See ADR 0006."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.storage.application.ports import Aggregator
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.storage_metadata import (
    RefreshCount,
    StorageMetadata,
    day_digests,
    differing_days,
    sources_in,
)
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.parquet_files import (
    ParquetWriter,
    bars_in,
    checked_bars,
    content_of,
    file_in,
    read_bars,
    read_metadata,
    sha256,
)
from marketpipe.storage.infrastructure.store_layout import (
    MONTH_NAME,
    YEAR_FOLDER,
    FileLook,
    StoreLayout,
    date_in,
    day_file_looks,
    entries_of,
    looking_into,
    modified_ns,
    number_in,
)

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator, Made

SECOND: Final = 1_000_000_000


def description_of(month: int, looks: Iterable[tuple[str, int, int]]) -> str:
    """Names, sizes and times of a month's day files, with the name of their folder."""
    folder = f"month={month:02d}"
    return "".join([f"{folder}/{name} {size} {modified}\n" for name, size, modified in looks])


def stamp_for(description: str, newest: int) -> int:
    """In nanoseconds; no other state of these files has it. ``newest`` is the latest of their modification times.

    Its seconds are those of the newest file; below the second it is a digest of their names, sizes and times.
    """
    digest = hashlib.sha256(description.encode()).digest()
    return newest // SECOND * SECOND + int.from_bytes(digest[:8], "big") % SECOND


DAY_FILE: Final = re.compile(r"day=\d\d\.parquet", re.ASCII)
GONE: Final = -1
IS_GONE: Final = f" {GONE} {GONE}\n"
Look = tuple[str, int, int]
"""A day file's name, size, and modification time in nanoseconds; -1 twice where it is gone when it is looked at."""


def look_at(folder: str) -> list[Look]:
    """The day files of a month, ascending; none where there is no such folder. Raises ``OSError``."""
    fits, found = DAY_FILE.fullmatch, list[Look]()
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return []
    with entries:
        for entry in entries:  # hundreds of thousands pass through here
            if fits(entry.name):
                try:
                    look = entry.stat()
                    found.append((entry.name, look.st_size, look.st_mtime_ns))
                except FileNotFoundError:  # a moment ago it was there, or it is a link to nowhere
                    found.append((entry.name, GONE, GONE))
    found.sort()
    return found


@frozen
class SeenYear:
    """Of a symbol's year the stamps that aggregates bear which were made from just these files."""

    months: Mapping[int, int]
    whole: int

    def covers(self, months: Collection[int]) -> bool:
        return all(month in self.months for month in months)


class SeenMonths:
    """The months whose files have been looked at, for whoever needs them at once: they may have changed since."""

    def __init__(self) -> None:
        self._years: dict[tuple[Symbol, int], SeenYear] = {}

    def note(self, symbol: Symbol, year: int, looks: Mapping[int, list[Look]]) -> None:
        """``looks`` by month, ascending."""
        self._years.pop((symbol, year), None)
        described = {month: description_of(month, found) for month, found in looks.items()}
        if any(IS_GONE in text for text in described.values()):
            return
        newest = {month: max([look[2] for look in found], default=0) for month, found in looks.items()}
        months = {month: stamp_for(text, newest[month]) for month, text in described.items()}
        whole = stamp_for("".join(described.values()), max(newest.values(), default=0))
        self._years[symbol, year] = SeenYear(months, whole)

    def of(self, symbol: Symbol, year: int) -> SeenYear | None:
        return self._years.get((symbol, year))

    def forget(self) -> None:
        self._years.clear()


@define(slots=False, eq=False)
class MonthNow:
    """The day files of a month as they are now, looked at and read when somebody first wants it, and no second time."""

    month: MonthPartition
    folder: str
    witness: str | None = None
    """An aggregate of this month alone. Where it bears the stamp of these files it says what their digests are."""

    @cached_property
    def looks(self) -> list[FileLook]:
        """Raises ``StorageError``."""
        return day_file_looks(self.folder)

    @cached_property
    def description(self) -> str:
        return description_of(self.month.month, self.looks)

    @cached_property
    def newest(self) -> int:
        """The modification time of the newest file; 0 where there is none."""
        return max([modified for _, _, modified in self.looks], default=0)

    @cached_property
    def stamp(self) -> int:
        return stamp_of([self])

    @cached_property
    def digests(self) -> str:
        """Raises ``PartitionUnreadableError``."""
        if self.witness and modified_ns(self.witness) == self.stamp and (said := self._said_by(self.witness)):
            return said
        return day_digests({number_in(name): sha256(content) for name, content in self._contents.items()})

    def bars(self) -> pa.Table:
        """Of the very bytes that have these digests. Raises ``PartitionUnreadableError``: no half month is made."""
        try:
            tables = [bars_in(content, f"{self.folder}/{name}") for name, content in self._contents.items()]
        except PartitionUnreadableError as error:
            raise PartitionUnreadableError(f"{error}. Remove the damaged file, then ingest again") from error
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *tables])

    def _said_by(self, aggregate: str) -> str | None:
        try:
            return sources_in(read_metadata(Path(aggregate))).get(str(self.month))
        except PartitionUnreadableError:
            return None

    @cached_property
    def _contents(self) -> Mapping[str, pa.Buffer]:
        """Of the days that the month has."""
        names = (name for name, _, _ in self.looks if date_in(self.month, number_in(name)))
        found = ((name, content_of(f"{self.folder}/{name}")) for name in names)
        return {name: content for name, content in found if content is not None}


def stamp_of(months: Iterable[MonthNow]) -> int:
    """That of an aggregate which is made from all of them."""
    looked = list(months)
    newest = max((month.newest for month in looked), default=0)
    return stamp_for("".join([month.description for month in looked]), newest)


Months = tuple[MonthPartition, ...]
Sources = dict[str, str]
"""For each month ("2024-01") the digests of its day files."""


@frozen
class AggregateFile:
    """One file and the months of minutes it is made from: one month for intraday bars, a year's for daily ones."""

    timeframe: Timeframe
    location: str
    period: str
    months: Months = field(repr=False)

    @property
    def path(self) -> Path:
        return Path(self.location)


@frozen
class Comparison:
    """What a file was made from (``recorded``), and what it would be made from now; ``stamp`` would be its time."""

    file: AggregateFile
    recorded: Sources
    sources: Sources
    stamp: int

    @property
    def changed(self) -> Months:
        """Those that have to be made anew. Of a month whose minutes are all gone nothing can be made: it stays."""
        months = self.file.months
        return tuple(month for month in months if self.recorded.get(str(month)) != self.sources[str(month)])

    def changed_dates(self) -> Iterator[TradingDate]:
        for month in self.changed:
            days = differing_days(self.recorded.get(str(month), ""), self.sources[str(month)])
            dates = (date_in(month, day) for day in sorted(days))
            yield from (TradingDate(day) for day in dates if day is not None)


class MinutesNow:
    """The day files of one symbol's year as they are now.

    Those of a month are looked at once, and read once, for all its timeframes.
    """

    def __init__(self, layout: StoreLayout, year: Months, timeframes: Sequence[Timeframe]) -> None:
        """Any intraday one of ``timeframes`` can tell of a month what its files of a year ask for."""
        told = next((timeframe for timeframe in timeframes if timeframe.is_intraday), None)
        witnesses = {month: layout.aggregate_location(told, month) if told else None for month in year}
        self._months = {month: MonthNow(month, str(layout.month(month)), witnesses[month]) for month in year}

    def compare(self, file: AggregateFile) -> Comparison | None:
        """None for a file that bears the stamp that its minutes had when it was made. Raises ``StorageError``."""
        if self.are_stamped_on(file):
            return None
        recorded = _recorded_sources(file.path)
        now = {str(month): self._months[month].digests for month in file.months}
        return Comparison(file, recorded, {**recorded, **now}, self._stamp(file))

    def are_stamped_on(self, file: AggregateFile) -> bool:
        """Raises ``StorageError``."""
        modified = modified_ns(file.location)
        return modified is not None and modified == self._stamp(file)

    def _stamp(self, file: AggregateFile) -> int:
        months = [self._months[month] for month in file.months]
        return months[0].stamp if len(months) == 1 else stamp_of(months)

    def bars(self, month: MonthPartition) -> pa.Table:
        """Of the very bytes that were compared. Raises ``PartitionUnreadableError``."""
        return self._months[month].bars()


def years_between(
    layout: StoreLayout, symbol: Symbol, first: TradingDate | None, last: TradingDate | None
) -> Iterator[tuple[Months, Months]]:
    """The months of each year that have a folder, and those between the dates; no year that has none of these."""
    for _, group in groupby(layout.months(symbol), key=lambda month: month.year):
        year = tuple(group)
        wanted = tuple(month for month in year if _between(month, first, last))
        if wanted:
            yield year, wanted


def aggregate_files(
    layout: StoreLayout, year: Months, wanted: Months, timeframes: Sequence[Timeframe]
) -> Iterator[AggregateFile]:
    """Those that the wanted months go into, in the order of the timeframes."""
    for timeframe in timeframes:
        for months in [(month,) for month in wanted] if timeframe.is_intraday else [year]:
            period = f"{months[0]}" if timeframe.is_intraday else f"{months[0].year:04d}"
            yield AggregateFile(timeframe, layout.aggregate_location(timeframe, months[0]), period, months)


def _recorded_sources(aggregate: Path) -> Sources:
    """What the file was made from; nothing for a missing or damaged one, which is then made anew."""
    try:
        content = aggregate.read_bytes()
        rows, metadata = file_in(content, str(aggregate), columns=True)  # behind an intact footer it may be damaged
        checked_bars(rows, aggregate)
        return sources_in(metadata)
    except (OSError, PartitionUnreadableError):
        return {}


def _between(month: MonthPartition, first: TradingDate | None, last: TradingDate | None) -> bool:
    number = month.year, month.month
    after = first is None or (first.day.year, first.day.month) <= number
    return after and (last is None or number <= (last.day.year, last.day.month))


Month = tuple[int, int]
LAST: Month = (9999, 12)


class UnchangedAggregates:
    """An ``Aggregator`` for right after the minutes were looked at: it looks at them again only where it has to.

    A symbol whose aggregates all bear the stamps of the files that were seen is done with. Others need an aggregator.
    """

    def __init__(self, layout: StoreLayout, seen: SeenMonths, new_aggregator: Callable[[], Aggregator]) -> None:
        self._data, self._aggregates = str(layout.data), str(layout.aggregates)
        self._seen, self._new_aggregator = seen, new_aggregator

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount | None:
        with looking_into(self._data):
            agreeing = list(self._verdicts(symbol, timeframes, _month_of(first, (0, 0)), _month_of(last, LAST)))
        if all(agreeing):
            return RefreshCount(0, len(agreeing))
        return self._new_aggregator().up_to_date(symbol, timeframes, first, last)

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        return self._new_aggregator().refresh(symbol, timeframes, first, last)

    def _verdicts(self, symbol: Symbol, timeframes: Sequence[Timeframe], first: Month, last: Month) -> Iterator[bool]:
        """One for each aggregate file that there has to be."""
        for folder in entries_of(f"{self._data}/symbol={symbol}", YEAR_FOLDER):
            year = number_in(folder.name)
            months = [
                number for each in entries_of(folder.path, MONTH_NAME) if 1 <= (number := number_in(each.name)) <= 12
            ]
            wanted = [month for month in months if first <= (year, month) <= last]
            if year and wanted:
                seen = self._seen.of(symbol, year)
                if seen is None or not seen.covers(months):
                    yield False
                    return
                yield from self._agreeing(f"symbol={symbol}/year={year:04d}", timeframes, wanted, seen)

    def _agreeing(
        self, folder: str, timeframes: Sequence[Timeframe], wanted: Sequence[int], seen: SeenYear
    ) -> Iterator[bool]:
        for timeframe in timeframes:
            root = f"{self._aggregates}/timeframe={timeframe}/{folder}"
            if timeframe.is_intraday:
                for month in wanted:
                    yield _bears(f"{root}/month={month:02d}.parquet", seen.months[month])
            else:
                yield _bears(f"{root}.parquet", seen.whole)


def _bears(path: str, stamp: int) -> bool:
    try:
        return os.stat(path).st_mtime_ns == stamp
    except FileNotFoundError:
        return False


def _month_of(date: TradingDate | None, otherwise: Month) -> Month:
    return otherwise if date is None else (date.day.year, date.day.month)


class AggregateFiles:
    """Keeps the aggregate files of a store in agreement with its minutes, and touches no other file."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        new_aggregator: Callable[[], DuckDBAggregator],
        writer: ParquetWriter,
        files: DurableFiles,
    ) -> None:
        """An aggregator is made only where a file has to be: where all agree with their minutes nobody needs DuckDB."""
        self._layout, self._identity, self._new_aggregator = layout, identity, new_aggregator
        self._writer, self._files = writer, files

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount | None:
        unchanged = 0
        for year, wanted in years_between(self._layout, symbol, first, last):
            minutes = MinutesNow(self._layout, year, timeframes)
            for file in aggregate_files(self._layout, year, wanted, timeframes):
                if not minutes.are_stamped_on(file):
                    return None
                unchanged += 1
        return RefreshCount(0, unchanged)

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        years = years_between(self._layout, symbol, first, last)
        counts = (self._refresh_year(year, wanted, timeframes) for year, wanted in years)
        return sum(counts, start=RefreshCount(0, 0))

    def _refresh_year(self, year: Months, wanted: Months, timeframes: Sequence[Timeframe]) -> RefreshCount:
        files = list(aggregate_files(self._layout, year, wanted, timeframes))
        minutes = MinutesNow(self._layout, year, timeframes)
        stale = [found for file in files if (found := self._find_stale(file, minutes))]
        if stale:
            self._write_all(stale, self._made_anew(stale, minutes))
        return RefreshCount(len(stale), len(files) - len(stale))

    def _find_stale(self, file: AggregateFile, minutes: MinutesNow) -> Comparison | None:
        """None where the file agrees with its minutes; a copied tree gets its modification times back."""
        found = minutes.compare(file)
        if found is None or found.changed:
            return found
        self._files.stamp(file.path, found.stamp)
        return None

    def _made_anew(self, stale: Sequence[Comparison], minutes: MinutesNow) -> Made:
        """Whatever any of them needs, in one pass over the minutes."""
        months = sorted({month for item in stale for month in item.changed})
        timeframes = list(dict.fromkeys(item.file.timeframe for item in stale))
        return self._new_aggregator().aggregate({month: minutes.bars(month) for month in months}, timeframes)

    def _write_all(self, stale: Sequence[Comparison], made: Made) -> None:
        """The files of a year together, which takes the fewest syncs."""
        with self._files.group() as group:
            for item in stale:
                group.add(item.file.path, self._encoded(item, made), item.stamp)

    def _encoded(self, item: Comparison, made: Made) -> bytes:
        file, symbol = item.file, item.file.months[0].symbol
        bars = pa.concat_tables([made[month][file.timeframe] for month in item.changed])
        if len(item.changed) < len(item.sources):
            bars = pa.concat_tables([self._unchanged_months(item), bars]).sort_by("timestamp")
        metadata = StorageMetadata(self._identity, symbol, file.period, file.timeframe, SCHEMA_VERSION, item.sources)
        return self._writer.encode_bars(bars, metadata.as_mapping())

    def _unchanged_months(self, item: Comparison) -> pa.Table:
        """Those too whose minutes are gone: what cannot be made anew stays."""
        daily = read_bars(item.file.path).select(BAR_SCHEMA.names)
        made = pa.array([month.month for month in item.changed], pa.int64())
        # New York midnight lies on the same date in UTC
        return daily.filter(pc.invert(pc.is_in(pc.month(daily["timestamp"]), made)))
