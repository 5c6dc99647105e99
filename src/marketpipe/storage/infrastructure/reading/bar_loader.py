"""Loading stored bars: as they are now, as of a former moment, by symbol-day to be validated, or to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import FileDigests
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.storage.domain.bar_selection import BarSelection
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import FROM_A_BACKUP
from marketpipe.storage.domain.storage_metadata import identity_in
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import Scanned
from marketpipe.storage.infrastructure.aggregates.read_copies import OpenedCopies
from marketpipe.storage.infrastructure.compacted.day_access import DayStatus, day_status
from marketpipe.storage.infrastructure.day_versions import KnownMoments, VersionIndex, moment_of
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity, identity_of, refuse_others
from marketpipe.storage.infrastructure.official.daily_bars import DAY_SCHEMA, days_of_periods, merged_days
from marketpipe.storage.infrastructure.official.official_history import OfficialHistories
from marketpipe.storage.infrastructure.official.official_reader import OfficialRows
from marketpipe.storage.infrastructure.parquet_files import (
    advising,
    bars_in,
    content_of,
    file_in,
    map_in_threads,
    read_bars,
    scan_bars,
    sha256,
)
from marketpipe.storage.infrastructure.reading.selected_bars import (
    SYMBOL,
    RegularHours,
    Sessions,
    repeated,
    selected,
)
from marketpipe.storage.infrastructure.reading.stored_minutes import BarRange, Hours, StoredMinutes, damaged, in_one
from marketpipe.storage.infrastructure.store_layout import (
    StoreLayout,
    date_of,
    day_in,
    refuse_links,
    refuse_links_on_the_way,
    scan_readable_days,
    translating,
)

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator


@frozen
class VersionFile:
    """The version of a symbol-day at a moment. ``path`` may be its day file, which may be replaced at any time."""

    symbol_day: SymbolDay
    known_since: Timestamp
    path: Path


class AsOfReader:
    """Bars as the store had them at a moment. Only minutes have revisions: other timeframes are made from them."""

    def __init__(
        self, layout: StoreLayout, new_aggregator: Callable[[], BarAggregator], identity: StoredIdentity | None = None
    ) -> None:
        self._layout, self._index, self._new_aggregator = layout, VersionIndex(layout), new_aggregator
        self._minutes = StoredMinutes(layout, identity=identity)

    def read(self, wanted: BarRange, as_of: Timestamp) -> pa.Table:
        """Return the bars as they were at ``as_of``. Raises ``StorageError``, also for damaged files."""
        # The index is read once, whatever is published meanwhile: a file that is newer than it has its right time.
        times = self._times(wanted)
        versions = self.versions(wanted, as_of, times)
        try:
            bars = self._bars(wanted, versions)
        except PartitionUnreadableError as error:
            if self.versions(wanted, as_of, times) == versions:
                former = (str(version.path) for version in self._former(versions))
                error.advice = FROM_A_BACKUP if any(path in str(error) for path in former) else ""
                raise
        else:
            if self.versions(wanted, as_of, times) == versions:
                return bars
        # A file was replaced after its time was read, so that the bars may be too new. Read again: what was replaced
        # is a revision now, and revisions stay.
        return self.read(wanted, as_of)

    def versions(self, wanted: BarRange, as_of: Timestamp, times: _FileTimes | None = None) -> list[VersionFile]:
        """Return the version of each day, in the order of dates; none of a day of which nothing was known."""
        months, known = groupby(wanted.days(), key=MonthPartition.of), times or self._times(wanted)
        return [found for month, days in months for found in self._in_month(as_of, month, list(days), known)]

    def _times(self, wanted: BarRange) -> _FileTimes:
        return _FileTimes(self._index.of(wanted.symbol), self._layout.disk)

    def _in_month(
        self, moment: Timestamp, month: MonthPartition, days: list[SymbolDay], times: _FileTimes
    ) -> Iterator[VersionFile]:
        current = {day: since for day in days if (since := times.known_since(day, self._layout.bars(day)))}
        # The revisions after the files. A version becomes a revision before its file is replaced, so a reader that
        # has seen a file that is too new finds here what was there before it. The other way round, a version could
        # move from one place to the other between the two reads, and be seen in neither.
        refuse_links(self._layout.revisions, month.folder, self._layout.disk)
        former = {each.symbol_day: each for each in self._layout.revisions_of(month) if each.known_since <= moment}
        for day in days:
            if day in current and current[day] <= moment:
                yield VersionFile(day, current[day], self._layout.bars(day))
            elif day in former:  # they ascend: the newest remains
                yield VersionFile(day, former[day].known_since, self._layout.revision(former[day]))

    def _bars(self, wanted: BarRange, versions: Sequence[VersionFile]) -> pa.Table:
        known: KnownMoments | None = None
        disk = self._layout.disk
        for version in self._former(versions):
            known = known or self._index.of(wanted.symbol)
            current = self._layout.bars(version.symbol_day)
            refuse_others(version.path, identity_of(version.path, disk), identity_of(current, disk))
            self._refuse_changed(version, known)
        months = groupby(versions, key=lambda version: MonthPartition.of(version.symbol_day))
        columns = wanted.schema if wanted.is_of_minutes else BAR_SCHEMA
        minutes = {month: self._month(month, list(group), columns) for month, group in months}
        if wanted.is_of_minutes:
            return pa.concat_tables([wanted.schema.empty_table(), *minutes.values()])
        made = self._new_aggregator().aggregate(minutes, [wanted.timeframe]) if minutes else {}
        bars = pa.concat_tables([BAR_SCHEMA.empty_table(), *(made[month][wanted.timeframe] for month in minutes)])
        return bars.select(wanted.columns)

    def _former(self, versions: Iterable[VersionFile]) -> list[VersionFile]:
        """Return those that are revisions."""
        return [version for version in versions if version.path != self._layout.bars(version.symbol_day)]

    def _refuse_changed(self, version: VersionFile, known: KnownMoments) -> None:
        """Raise ``PartitionUnreadableError`` for a revision whose bytes are not those of a version of its moment."""
        digests = known.published_at(version.known_since, version.symbol_day.trading_date)
        content = content_of(str(version.path), self._layout.disk) if digests else None
        if content is not None and sha256(content) not in digests:
            raise PartitionUnreadableError(f"{version.path} has changed bytes")

    def _month(self, month: MonthPartition, versions: Sequence[VersionFile], columns: pa.Schema) -> pa.Table:
        """Read the versions of a month; those of the present, if they are all, from its copy."""
        if all(version.path == self._layout.bars(version.symbol_day) for version in versions):
            days = [version.symbol_day.trading_date.day.day for version in versions]
            if (bars := self._minutes.of_copy(month, days, columns)) is not None:
                return bars
        return scan_bars([version.path for version in versions], columns, self._layout.machine)


class _FileTimes:
    """Since when the day files of one symbol are known. A file is read only if the index does not have its time."""

    def __init__(self, moments: KnownMoments, disk: Disk) -> None:
        self._moments, self._disk, self._digests = moments, disk, dict[tuple[str, DayStatus], str]()

    def known_since(self, day: SymbolDay, path: Path) -> Timestamp | None:
        """None if there is no file. Raises ``StorageError``; ``PartitionUnreadableError`` if it cannot be read."""
        with translating(path):
            found = day_status(str(path), self._disk)
        if found is None:
            return None
        modified = moment_of(found.modified_ns)
        return self._moments.since(day.trading_date, modified, lambda: self._digest(path, found))

    def _digest(self, path: Path, found: DayStatus) -> str:
        """Hash a file once for both scans, before and after its bars are read."""
        key = str(path), found
        if key not in self._digests:
            content = content_of(str(path), self._disk)
            self._digests[key] = "" if content is None else sha256(content)
        return self._digests[key]


class ParquetStoredBars:
    """The stored minute bars, symbol-day by symbol-day: the adapter of ``StoredBars``."""

    def __init__(self, layout: StoreLayout, identity: StoredIdentity | None = None) -> None:
        """``identity`` finds the dataset of the store, and without it one is made."""
        self._layout, self._identity = layout, identity or StoredIdentity(layout)

    def symbols(self) -> tuple[Symbol, ...]:
        return tuple(self._layout.symbols())

    def stored_days(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> Iterator[SymbolDay]:
        """A damaged month file counts as one day between the dates: to read it tells what is wrong."""
        for symbol in sorted(symbols):
            for month in self._layout.months(symbol):
                if month.first <= last and first <= month.last:
                    files, is_damaged = scan_readable_days(str(self._layout.month(month)), self._layout.disk)
                    found = (date_of(month.year, month.month, name) for name, _, _ in files)
                    dates = {TradingDate(date) for date in found if date and first.day <= date <= last.day}
                    dates |= {max(first, month.first)} if is_damaged else set()
                    yield from (SymbolDay(symbol, date) for date in sorted(dates))

    def read(self, days: Sequence[SymbolDay]) -> ArrowBars:
        with advising(self._identity.read):
            tables = [read_bars(self._layout.bars(day), self._layout.disk) for day in days]
        offsets = accumulate((len(table) for table in tables), initial=0)
        parts = zip(days, offsets, tables, strict=False)
        slices = tuple(SymbolDaySlice(day, offset, len(table)) for day, offset, table in parts)
        return ArrowBars(pa.concat_tables(tables), slices)


class BarLoader:
    """Bars of any timeframe as one Arrow table. Paths are computed from symbols and dates; no tree is listed.

    An aggregator is made only for weeks, months and bars of a former moment: loading stored files needs no DuckDB.
    Days, weeks and months have the column ``source``.
    """

    def __init__(
        self,
        layout: StoreLayout,
        new_aggregator: Callable[[], BarAggregator],
        sessions: Sessions = lambda *_: (),
        opened: OpenedCopies | None = None,
        identity: StoredIdentity | None = None,
        digests: Callable[[], FileDigests] | None = None,
    ) -> None:
        """``sessions`` are asked for only if the regular hours are wanted; ``opened`` keeps opened read copies;
        ``identity`` finds the dataset of the store, and without it one is made; ``digests`` opens what is on record of
        the histories of official days.
        """
        self._layout, self._identity = layout, identity or StoredIdentity(layout)
        self._as_of, self._hours = AsOfReader(layout, new_aggregator, self._identity), RegularHours(sessions)
        self._minutes = StoredMinutes(layout, opened, self._identity)
        self._new_aggregator = new_aggregator
        self._official = OfficialRows(layout, OfficialHistories(layout, digests, self._identity.read))

    def load(
        self,
        symbols: Sequence[Symbol],
        first: TradingDate,
        last: TradingDate,
        timeframe: Timeframe,
        as_of: Timestamp | None = None,
        source: DaySource | None = None,
        selection: BarSelection | None = None,
        scanned: Scanned | None = None,
    ) -> pa.Table:
        """Return the bars by symbol, in the given order, then by time; as they are now, or as of a moment.

        With a ``source``, only those that are from there. Without a ``selection``, all columns and hours, in UTC.
        Bars shorter than a day have no source. ``scanned`` finds fingerprints of day files. Raises
        ``PartitionUnreadableError``.
        """
        selection = selection or BarSelection.of(timeframe)
        # days and longer are merged from several files, and are few: all their columns are read
        read = selection.stored if timeframe.is_intraday else tuple(BAR_SCHEMA.names)
        ranges = [BarRange(symbol, first, last, timeframe, read) for symbol in symbols]
        self._refuse_links(ranges, timeframe)
        hours = self._hours if selection.regular_hours else _all_hours
        with advising(self._identity.read):
            found = self._found(ranges, timeframe, as_of, hours, scanned)
        if source is not None:
            found = [bars.filter(pa.array(bars["source"].to_numpy() == str(source))) for bars in found]
        if as_of is not None or timeframe is not Timeframe.MINUTE_1:
            found = list(map(hours, found))
        names = [str(symbol) for symbol in symbols]
        if not found:
            found, names = [(BAR_SCHEMA if timeframe.is_intraday else DAY_SCHEMA).empty_table()], [""]
        return selected(found, names, selection)

    def _found(
        self,
        ranges: Sequence[BarRange],
        timeframe: Timeframe,
        as_of: Timestamp | None,
        hours: Hours,
        scanned: Scanned | None,
    ) -> list[pa.Table]:
        """Return the bars of each range: of all hours, but for minutes of the present."""
        if timeframe is Timeframe.MINUTE_1 and as_of is None:
            return self._minutes.read(ranges, hours, scanned)
        if timeframe.is_made_of_days:
            return self._periods(ranges, as_of)
        return self._bars(ranges, as_of) if timeframe.is_intraday else self._days(ranges, as_of)

    def dates_at(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, as_of: Timestamp
    ) -> frozenset[TradingDate]:
        """Return the dates between these, both inclusive, of which minutes were stored at ``as_of``."""
        versions = self._as_of.versions(BarRange(symbol, first, last, Timeframe.MINUTE_1), as_of)
        return frozenset(version.symbol_day.trading_date for version in versions)

    def lost_dates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, as_of: Timestamp
    ) -> frozenset[TradingDate]:
        """Return the dates between these of which minutes were stored at ``as_of``, and no file has them any more."""
        published = (TradingDate.parse(text) for text in VersionIndex(self._layout).of(symbol).dates_at(as_of))
        within = frozenset(date for date in published if first <= date <= last)
        return within - self.dates_at(symbol, first, last, as_of)

    def official_dates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, as_of: Timestamp | None = None
    ) -> frozenset[TradingDate]:
        """Return the dates between these, both inclusive, of which there are official days; now, or at ``as_of``."""
        stored = self._official_as_of(as_of, BarRange(symbol, first, last, Timeframe.DAY_1))
        times = stored["timestamp"].cast(pa.int64()).to_pylist()
        return frozenset(TradingDate.of(Timestamp.from_epoch_micros(time)) for time in times)

    def _bars(self, ranges: Sequence[BarRange], as_of: Timestamp | None) -> list[pa.Table]:
        """Return aggregates: what was made from minutes, in the columns of bars."""
        if as_of is not None:
            return [self._as_of_moment(as_of, wanted) for wanted in ranges]
        stored = self._tables(ranges, [list(wanted.months_of_aggregates(self._layout)) for wanted in ranges])
        complete = [self._with_missing(wanted, tables) for wanted, tables in zip(ranges, stored, strict=True)]
        return [in_one(tables, wanted.schema) for wanted, tables in zip(ranges, complete, strict=True)]

    def _days(self, ranges: Sequence[BarRange], as_of: Timestamp | None) -> list[pa.Table]:
        """Return the exchange's own days, and where there is none, those made from minutes."""
        if as_of is None:
            official = self._now(ranges, [wanted.official_files(self._layout) for wanted in ranges])
        else:
            official = [self._official_as_of(as_of, wanted) for wanted in ranges]
        return list(map(merged_days, official, self._bars(ranges, as_of)))

    def _periods(self, ranges: Sequence[BarRange], as_of: Timestamp | None) -> list[pa.Table]:
        """Return the weeks or months that begin between the dates, each of all its days."""
        periods = [_days_of(wanted) for wanted in ranges]
        found, names = self._days(periods, as_of), [str(number) for number in range(len(ranges))]
        days = _named(pa.concat_tables([DAY_SCHEMA.empty_table(), *found]), names, [len(bars) for bars in found])
        made = self._new_aggregator().periods(days, ranges[0].timeframe) if len(days) else days
        owners = made["symbol"].to_numpy()
        parts = [made.filter(pa.array(owners == name)).drop_columns("symbol").sort_by("timestamp") for name in names]
        return [wanted.within(part) for wanted, part in zip(ranges, parts, strict=True)]

    def _now(self, ranges: Sequence[BarRange], paths: Iterable[Sequence[str]]) -> list[pa.Table]:
        return [in_one(tables) for tables in self._tables(ranges, paths)]

    def _tables(self, ranges: Sequence[BarRange], paths: Iterable[Sequence[str]]) -> list[list[pa.Table | None]]:
        """Read the files of all symbols together: there may be a thousand symbols with a file each."""
        files = [[(wanted, path) for path in some] for wanted, some in zip(ranges, paths, strict=True)]
        read = iter(map_in_threads(self._read, [*chain.from_iterable(files)], self._layout.machine))
        return [[*islice(read, len(some))] for some in files]

    def _refuse_links(self, ranges: Sequence[BarRange], timeframe: Timeframe) -> None:
        """A link that leads out of the store is named, and not followed. Raises ``StorageError``."""
        months = [month for wanted in ranges for month, _ in wanted.months()]
        refuse_links_on_the_way(self._layout.data, (month.folder for month in months), self._layout.disk)
        if timeframe is not Timeframe.MINUTE_1:
            folders = (f"timeframe={timeframe}/{month.year_folder}" for month in months)
            refuse_links_on_the_way(self._layout.aggregates, folders, self._layout.disk)

    def _with_missing(self, wanted: BarRange, tables: list[pa.Table | None]) -> list[pa.Table | None]:
        """Make what lost aggregates had of the minutes that are stored: bars that exist must not be left out."""
        months = list(wanted.months_of_aggregates(self._layout).values())
        lost = {month for bars, some in zip(tables, months, strict=True) if bars is None for month in some}
        minutes = {month: files for month, files in wanted.day_files(self._layout) if month in lost and files}
        if not minutes:
            return tables
        try:
            bars = {month: self._of_month(month, files) for month, files in minutes.items()}
        except PartitionUnreadableError as error:
            raise damaged(wanted, error) from error
        made = self._new_aggregator().aggregate(bars, [wanted.timeframe])
        of_files = ([made[month][wanted.timeframe] for month in some if month in made] for some in months)
        return [
            wanted.within(in_one(again).select(wanted.columns)) if bars is None and again else bars
            for bars, again in zip(tables, of_files, strict=True)
        ]

    def _of_month(self, month: MonthPartition, files: Sequence[Path]) -> pa.Table:
        bars = self._minutes.of_copy(month, [day_in(path.name) for path in files], BAR_SCHEMA)
        return scan_bars(files, machine=self._layout.machine) if bars is None else bars

    def _read(self, file: tuple[BarRange, str]) -> pa.Table | None:
        """Read an aggregate of this dataset, or official days; None if the file does not exist."""
        wanted, path = file
        try:
            if (content := content_of(path, self._layout.disk)) is None:
                return None
            refuse_others(path, identity_in(file_in(content, path, columns=False)[1]), self._identity.read())
            return wanted.within(bars_in(content, path, wanted.schema))
        except PartitionUnreadableError as error:
            raise damaged(wanted, error) from error

    def _as_of_moment(self, as_of: Timestamp, wanted: BarRange) -> pa.Table:
        try:
            return self._as_of.read(wanted, as_of)
        except PartitionUnreadableError as error:
            raise damaged(wanted, error) from error

    def _official_as_of(self, as_of: Timestamp | None, wanted: BarRange) -> pa.Table:
        try:
            years = wanted.first.day.year, wanted.last.day.year
            return wanted.within(self._official.of(wanted.symbol, *years, as_of))
        except PartitionUnreadableError as error:
            raise damaged(wanted, error) from error


def _days_of(wanted: BarRange) -> BarRange:
    """Return the days of the weeks or months that begin between the dates; some may begin earlier."""
    if wanted.last < wanted.first:
        return wanted
    first, last = days_of_periods(wanted.first, wanted.last, wanted.timeframe)
    return BarRange(wanted.symbol, first, last, Timeframe.DAY_1)


def _all_hours(bars: pa.Table) -> pa.Table:
    return bars


def _named(bars: pa.Table, symbols: Sequence[str], lengths: Sequence[int]) -> pa.Table:
    """Add the column of symbols; ``lengths`` are the numbers of bars of each."""
    return bars.add_column(0, SYMBOL, repeated(symbols, [[length] for length in lengths]))
