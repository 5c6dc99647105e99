"""Aggregate files: which of them agree with their minutes, and how the others are rebuilt. See ADR 0006.

An aggregate's modification time is the *fingerprint* of the day files it was made from, so a scan of the folders of a
symbol's year shows which files are fresh. ``YearFreshness`` is that test, the only one: the refresh, the check after a
plan and the coverage report all use it. If a fingerprint differs, the digests in the file's metadata decide.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.storage.domain.data_partition import MonthPartition, day_file
from marketpipe.storage.domain.storage_metadata import (
    AggregationReport,
    StorageMetadata,
    differing_days,
    identity_in,
    sources_in,
    sources_of_days,
)
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import (
    INVALID,
    AggregateFile,
    Months,
    ScannedYears,
    YearFingerprints,
    fingerprint_of,
    newest,
)
from marketpipe.storage.infrastructure.aggregates.month_files import NOT_IN_MEMORY, DayFilesOfMonth, Stored
from marketpipe.storage.infrastructure.aggregates.read_copies import ReadCopy, Rows, encode_copy
from marketpipe.storage.infrastructure.parquet_files import (
    ParquetWriter,
    checked_bars,
    file_in,
    open_file,
    read_bars,
)
from marketpipe.storage.infrastructure.publishing.durable_files import AGGREGATES_TOGETHER, DurableFiles, FileGroup
from marketpipe.storage.infrastructure.store_layout import (
    COPY_FORMATS,
    PARQUET,
    StoreLayout,
    date_of,
    modified_ns,
)

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator, Made

Sources = dict[str, str]
"""For each month ("2024-01") the digests of its day files."""


@frozen
class MadeFile:
    """A file that is to be published, and the ``fingerprint`` of the minutes that it was made from."""

    file: AggregateFile
    content: bytes = field(repr=False)
    fingerprint: int


class AggregateFiles:
    """Keeps the aggregate files of a store in agreement with its minutes, and changes no other file."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        new_aggregator: Callable[[], BarAggregator],
        writer: ParquetWriter,
        files: DurableFiles,
        scanned: ScannedYears | None = None,
        closing_auction: int | None = None,
        copy_format: str = PARQUET,
    ) -> None:
        """``new_aggregator`` is called only if an aggregate must be rebuilt, so a fresh store needs no DuckDB; it makes
        daily bars with this ``closing_auction``. With ``scanned``, ``up_to_date`` does not repeat a scan that was just
        made. The files of one minute, which are read copies, have the ``copy_format``.
        """
        self._layout, self._identity, self._new_aggregator = layout, identity, new_aggregator
        self._closing_auction, self._copy_format = closing_auction, copy_format
        self._writer, self._files, self._scanned = writer, files, scanned

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport | None:
        """Return the count of fresh files, without opening any; None if at least one is not fresh. Changes nothing."""
        unchanged, copies = 0, 0
        for year, wanted in years_between(self._layout, symbol, first, last):
            known = None if self._scanned is None else self._scanned.get(year)
            minutes = YearFreshness(self._layout, year, timeframes, self._closing_auction, known, None, self._identity)
            for file in aggregate_files(self._layout, year, wanted, timeframes, self._copy_format):
                if not minutes.is_fresh(file):
                    return None
                unchanged += 1
                copies += file.is_copy
        return AggregationReport(0, unchanged, copies_unchanged=copies)

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport:
        """Rebuild the files that no longer agree with their minutes. Raises ``StorageError``.

        What a damaged day file does not concern is rebuilt before ``PartitionUnreadableError`` is raised for it.
        """
        errors, total, made = dict[str, None](), AggregationReport(0, 0), list[AggregateFile]()
        with self._files.group(AGGREGATES_TOGETHER) as group:
            for year, wanted in years_between(self._layout, symbol, first, last):
                try:
                    total += self._refresh_year(year, wanted, timeframes, errors, partial(_add_to, group, made))
                except StorageError as error:  # it does not concern the other years
                    errors[str(error)] = None
        self._remove_other_forms(made)
        if errors:
            raise PartitionUnreadableError("; ".join(errors))
        return total

    def made_of(self, stored: Stored, timeframes: Sequence[Timeframe]) -> list[MadeFile]:
        """Make what can be made of months that were just stored, without reading a day file. Changes no file.

        The months are of one symbol and year. Whatever else is stale stays so. Raises ``StorageError``.
        """
        made, months = list[MadeFile](), sorted(stored)
        for year, _ in years_between(self._layout, months[0].symbol, months[0].first, months[-1].last):
            wanted = tuple(month for month in year if month in stored)
            self._refresh_year(year, wanted, timeframes, {}, made.append, stored)
        return made

    def publish(self, files: Sequence[MadeFile]) -> Sequence[AggregateFile]:
        """Publish those whose minutes are what they were, and return them.

        To be called under a lock of all that refresh aggregates: no file of newer minutes is replaced. Raises
        ``StorageError`` if a file cannot be written, and then publishes none; or if one cannot take its place, and
        then some others may have: each of them is fresh.
        """
        by_year = groupby(files, key=lambda made: made.file.months[0].year_folder)
        current = [made for _, some in by_year for made in self._current(list(some))]
        published = list[AggregateFile]()
        with self._files.group(AGGREGATES_TOGETHER) as group:
            for made in current:
                _add_to(group, published, made)
        self._remove_other_forms(published)
        return published

    def _current(self, files: Sequence[MadeFile]) -> Iterator[MadeFile]:
        """Yield those of the files of one symbol's year that have the fingerprint of the minutes as they are now."""
        last = files[0].file.months[-1]
        for year, _ in years_between(self._layout, last.symbol, last.first, last.last):
            minutes = YearFreshness(self._layout, year, (), self._closing_auction)
            for made in files:
                months = made.file.months
                is_of_this_year = set(months) <= set(year) if made.file.timeframe.is_intraday else months == year
                if is_of_this_year and minutes.fingerprint(made.file) == made.fingerprint:
                    yield made

    def _refresh_year(
        self,
        year: Months,
        wanted: Months,
        timeframes: Sequence[Timeframe],
        errors: dict[str, None],
        add: Callable[[MadeFile], None],
        stored: Stored | None = None,
    ) -> AggregationReport:
        files = list(aggregate_files(self._layout, year, wanted, timeframes, self._copy_format))
        # Scanned again, whatever a plan has scanned: a fingerprint is taken before its files are read. A day that is
        # stored in between then has another time than the aggregate says, and the next refresh notices it.
        minutes = YearFreshness(
            self._layout, year, timeframes, self._closing_auction, stored=stored, identity=self._identity
        )
        found = [item for item in minutes.stale(files, errors.setdefault) if self._is_ours(item, errors.setdefault)]
        bars = _readable(minutes, sorted({month for item in found for month in item.changed}), errors)
        if stale := [item for item in found if bars.keys() >= set(item.changed)]:
            self._rebuild(stale, bars, minutes, add)
        copies, remade = sum(file.is_copy for file in files), sum(item.file.is_copy for item in stale)
        return AggregationReport(len(stale), len(files) - len(stale), (), remade, copies - remade)

    def _is_ours(self, item: StaleAggregate, refuse: Callable[[str, None], object]) -> bool:
        if not (ours := item.identity in (None, self._identity)):  # another dataset's file is not replaced
            refuse(f"{item.file.path} is of {item.identity}; this store is of {self._identity}: move it away", None)
        return ours

    def _rebuild(
        self,
        stale: Sequence[StaleAggregate],
        bars: Mapping[MonthPartition, pa.Table],
        minutes: YearFreshness,
        add: Callable[[MadeFile], None],
    ) -> None:
        """Make all bars in one pass over the minutes, for the first month costs most of it."""
        timeframes = list(dict.fromkeys(item.file.timeframe for item in stale if not item.file.is_copy))
        made = self._new_aggregator().aggregate(bars, timeframes) if timeframes else {}
        for item in stale:
            content = self._copied(item, bars, minutes) if item.file.is_copy else self._encoded(item, made)
            add(MadeFile(item.file, content, item.fingerprint))

    def _encoded(self, item: StaleAggregate, made: Made) -> bytes:
        file = item.file
        tables = [made[month][file.timeframe] for month in item.changed]
        bars = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        if len(item.changed) < len(item.sources):
            bars = pa.concat_tables([_bars_to_keep(item), bars]).sort_by("timestamp")
        return self._writer.encode_aggregate(bars, self._metadata_of(item))

    def _copied(self, item: StaleAggregate, bars: Mapping[MonthPartition, pa.Table], minutes: YearFreshness) -> bytes:
        (month,) = item.file.months
        return encode_copy(bars[month], minutes.rows(month), self._metadata_of(item), self._copy_format)

    def _metadata_of(self, item: StaleAggregate) -> Mapping[str, str]:
        file, symbol = item.file, item.file.months[0].symbol
        stated = StorageMetadata(self._identity, symbol, file.period, file.timeframe, SCHEMA_VERSION, item.sources)
        return stated.as_mapping()

    def _remove_other_forms(self, published: Iterable[AggregateFile]) -> None:
        """Remove the copies that were made before another form was configured, now that those in this form exist."""
        for file in published:
            for form in COPY_FORMATS if file.is_copy else ():
                path = self._layout.copy(file.months[0], form)
                if path != file.path and os.path.lexists(path):
                    self._files.remove(Path(path))


def _add_to(group: FileGroup, added: list[AggregateFile], made: MadeFile) -> None:
    group.add(Path(made.file.path), made.content, made.fingerprint)
    added.append(made.file)


def _readable(
    minutes: YearFreshness, months: Iterable[MonthPartition], errors: dict[str, None]
) -> dict[MonthPartition, pa.Table]:
    """Return the bars of the months that can be read, and add to ``errors`` why others cannot be."""
    bars = dict[MonthPartition, pa.Table]()
    for month in months:
        try:
            bars[month] = minutes.bars(month)
        except PartitionUnreadableError as error:
            errors[str(error)] = None
    return bars


def _bars_to_keep(item: StaleAggregate) -> pa.Table:
    """Return the daily bars of unchanged months, and of months whose minutes are gone: nothing can rebuild those."""
    import pyarrow.compute as pc  # here: it takes 40 ms, and commands that only examine files do without it

    daily = read_bars(Path(item.file.path)).select(BAR_SCHEMA.names)
    changed = pa.array([month.month for month in item.changed], pa.int64())
    # midnight in New York is on the same date in UTC, so the month of the UTC time is the month of the trading date
    return daily.filter(pc.invert(pc.is_in(pc.month(daily["timestamp"]), changed)))


def years_between(
    layout: StoreLayout, symbol: Symbol, first: TradingDate | None, last: TradingDate | None
) -> Iterator[tuple[Months, Months]]:
    """Yield for each year its months that have a folder, and those of them between the dates, both inclusive.

    A year without a month between the dates is left out. None is no bound.
    """
    start = (0, 0) if first is None else (first.day.year, first.day.month)
    end = (9999, 12) if last is None else (last.day.year, last.day.month)
    for _, group in groupby(layout.months(symbol), key=lambda month: month.year):
        year = tuple(group)
        wanted = tuple(month for month in year if start <= (month.year, month.month) <= end)
        if wanted:
            yield year, wanted


def aggregate_files(
    layout: StoreLayout,
    year: Months,
    wanted: Months,
    timeframes: Sequence[Timeframe],
    copy_format: str = PARQUET,
) -> Iterator[AggregateFile]:
    """Yield the files that the wanted months go into, in the order of the timeframes, whether they exist or not."""
    # What ``StoreLayout.aggregate`` returns, but each name is made only once: a check of all files passes through here.
    by_month, by_year = [(month.folder, (month,)) for month in wanted], [(year[0].year_folder, year)]
    for timeframe in timeframes:
        is_copy = timeframe is Timeframe.MINUTE_1
        folder, ending = (layout.copies, copy_format) if is_copy else (layout.aggregates_of(timeframe), PARQUET)
        for period, months in by_month if timeframe.is_intraday else by_year:
            yield AggregateFile(timeframe, f"{folder}/{period}.{ending}", months)


class YearFreshness:
    """The day files of one symbol's year, and the test of its aggregates against them.

    Each month is scanned at most once, and read at most once, for all timeframes.
    """

    def __init__(
        self,
        layout: StoreLayout,
        year: Months,
        timeframes: Sequence[Timeframe],
        closing_auction: int | None = None,
        known: YearFingerprints | None = None,
        stored: Stored | None = None,
        identity: DatasetIdentity | None = None,
    ) -> None:
        """``known`` are the fingerprints of a scan that is recent enough; None: folders are scanned when needed.

        A copy that is used instead of reading day files is of this dataset.
        With ``stored`` no day file is read: a month that is not among these, or is another by now, is unreadable.
        """
        self._stored, self._identity = stored, identity
        # The digests of a fresh intraday aggregate are reused for the daily file: the month need not be read again.
        aggregated = (timeframe for timeframe in timeframes if timeframe is not Timeframe.MINUTE_1)
        digest_source = next((timeframe for timeframe in aggregated if timeframe.is_intraday), None)
        self._layout, self._year, self._digest_source, self._known = layout, year, digest_source, known
        self._closing_auction = closing_auction

    @cached_property
    def _months(self) -> Mapping[MonthPartition, DayFilesOfMonth]:
        layout, digest_source, data = self._layout, self._digest_source, str(self._layout.data)
        return {
            month: DayFilesOfMonth(
                month,
                f"{data}/{month.folder}",
                layout.aggregate(digest_source, month) if digest_source else None,
                tuple(layout.copy(month, form) for form in COPY_FORMATS),
                None if self._stored is None else self._stored.get(month, NOT_IN_MEMORY),
                self._identity,
            )
            for month in self._year
        }

    def is_fresh(self, file: AggregateFile) -> bool:
        """Return whether the file was made from just these day files, without opening any. Raises ``StorageError``."""
        return modified_ns(file.path) == self.fingerprint(file)

    def stale(self, files: Iterable[AggregateFile], refuse: Callable[[str, None], object]) -> Iterator[StaleAggregate]:
        """Yield the files that must be rebuilt, missing and damaged ones too. Raises ``StorageError``.

        ``refuse`` is called with the reason why a file cannot be compared: a day file that cannot be read.
        A file whose digests agree gets its fingerprint back, as in a tree that was copied without its times; not of
        bars in memory, which change no file. If that is not allowed, as in a read-only store, each comparison reads the
        minutes again and finds the same.
        """
        for file in files:
            try:
                found = None if self.is_fresh(file) else self._compare(file)
            except PartitionUnreadableError as error:
                refuse(str(error), None)
                continue
            if found is not None and found.changed:
                yield found
            elif found is not None and self._stored is None:
                with suppress(OSError):
                    os.utime(file.path, ns=(found.fingerprint, found.fingerprint))

    def fingerprint(self, file: AggregateFile) -> int:
        """Return the modification time, in nanoseconds, that a fresh file has. Raises ``StorageError``."""
        minutes = self._of_minutes(file)
        if file.timeframe.is_intraday or self._closing_auction is None:
            return minutes
        return fingerprint_of(sources_of_days(str(minutes), self._closing_auction), minutes)

    def _of_minutes(self, file: AggregateFile) -> int:
        if self._known is not None:
            return self._known.of(file)
        months = [self._months[month] for month in file.months]
        if len(months) == 1:
            return months[0].fingerprint
        return fingerprint_of("".join([month.description for month in months]), newest(m.day_files for m in months))

    def bars(self, month: MonthPartition) -> pa.Table:
        """Return the bars of the very bytes that were compared. Raises ``PartitionUnreadableError``."""
        return self._months[month].bars()

    def rows(self, month: MonthPartition) -> Rows:
        """Return the numbers of the bars of each day among the ``bars`` of the month."""
        return self._months[month].rows

    def _compare(self, file: AggregateFile) -> StaleAggregate:
        recorded, identity = _recorded_in(file)
        auction = None if file.timeframe.is_intraday else self._closing_auction
        now = {str(month): sources_of_days(self._months[month].digests, auction) for month in file.months}
        return StaleAggregate(file, recorded, {**recorded, **now}, self.fingerprint(file), identity)


@frozen
class StaleAggregate:
    """A file, the ``recorded`` digests it was made from, and the ``sources`` and the fingerprint of today's minutes.

    ``identity`` is the dataset that the file names; None if it does not exist or cannot be read.
    """

    file: AggregateFile
    recorded: Sources
    sources: Sources
    fingerprint: int
    identity: DatasetIdentity | None = None

    @cached_property
    def changed(self) -> Months:
        """The months to rebuild. A month whose folder is gone is not among them: its bars stay as they are."""
        months = self.file.months
        return tuple(month for month in months if self.recorded.get(str(month)) != self.sources[str(month)])

    def changed_dates(self) -> Iterator[TradingDate]:
        """Yield the dates whose day files differ from those the aggregate was made from, ascending."""
        for month in self.changed:
            days = differing_days(self.recorded.get(str(month), ""), self.sources[str(month)])
            dates = (date_of(month.year, month.month, day_file(day)) for day in sorted(days))
            yield from (TradingDate(day) for day in dates if day is not None)


def _recorded_in(file: AggregateFile) -> tuple[Sources, DatasetIdentity | None]:
    """Return what a file was made from, and its dataset; nothing for a missing or damaged file, which is rebuilt."""
    if modified_ns(file.path) is None:
        return {}, None
    return _recorded_in_copy(file) if file.is_copy else _recorded_in_aggregate(file.path)


def _recorded_in_aggregate(aggregate: str) -> tuple[Sources, DatasetIdentity | None]:
    try:
        with open_file(aggregate) as opened:
            content, is_invalid = opened.read(), os.fstat(opened.fileno()).st_mtime_ns == INVALID
        rows, metadata = file_in(content, aggregate, columns=True)  # behind an intact footer it may be damaged
        checked_bars(rows, aggregate)
        return {} if is_invalid else sources_in(metadata), identity_in(metadata)
    except (OSError, PartitionUnreadableError):
        return {}, None


def _recorded_in_copy(file: AggregateFile) -> tuple[Sources, DatasetIdentity | None]:
    try:
        if (copy := ReadCopy.open(file.path)) is None or modified_ns(file.path) == INVALID:
            return {}, None
        copy.intact_bars()
        return dict(copy.sources) if copy.is_of(file.months[0]) else {}, identity_in(copy.metadata)
    except PartitionUnreadableError:
        return {}, None
