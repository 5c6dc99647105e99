"""Aggregate files: which there are, and how those that do not agree with their minutes are rebuilt. See ADR 0006."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, lexists
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.storage_metadata import AggregationReport, StorageMetadata
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import AggregateFile, Months, ScannedYears
from marketpipe.storage.infrastructure.aggregates.month_files import Stored
from marketpipe.storage.infrastructure.aggregates.read_copies import encode_copy
from marketpipe.storage.infrastructure.aggregates.year_freshness import StaleAggregate, YearFreshness
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, advising, read_bars
from marketpipe.storage.infrastructure.publishing.published_files import AGGREGATES_TOGETHER, FileGroup, PublishedFiles
from marketpipe.storage.infrastructure.store_layout import COPY_FORMATS, PARQUET, StoreLayout

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator, Made


PUBLISHED_TOGETHER_FILES: Final = 128
PUBLISHED_TOGETHER_BYTES: Final = 8 << 20
"""A refresh publishes the files of a symbol in parts of this size: more would wait in memory if the disk is slow, and
be made again after a crash or if the disk is full."""


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
        files: PublishedFiles,
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
        """Rebuild the files that no longer agree with their minutes, in parts. Raises ``StorageError``.

        What makes a month or a year fail does not keep the others from being rebuilt. ``PartitionUnreadableError`` is
        raised if it was damage alone. If a file cannot be written, what was published before stays so.
        """
        damage, others, total = dict[str, None](), dict[str, None](), AggregationReport(0, 0)
        with self._published_by_parts() as add:
            for year, wanted in years_between(self._layout, symbol, first, last):
                try:
                    total += self._refresh_year(year, wanted, timeframes, damage, add)
                except PartitionUnreadableError as error:
                    damage[str(error)] = None
                except StorageError as error:
                    others[str(error)] = None
        if others:
            raise StorageError("; ".join([*damage, *others]))
        if damage:
            raise PartitionUnreadableError("; ".join(damage))
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

    @contextmanager
    def _published_by_parts(self) -> Iterator[Callable[[MadeFile], None]]:
        """Yield what adds a file. As many as are published together are so at once, the last ones at the end."""
        added, waiting = list[AggregateFile](), list[int]()
        with ExitStack() as at_the_end, self._files.group(AGGREGATES_TOGETHER) as group:
            # After an error, too: a fresh copy is not made again, and would not be the reason to remove the other form.
            at_the_end.callback(lambda: self._remove_other_forms(_published(added, group)))

            def add(made: MadeFile) -> None:
                _add_to(group, added, made)
                waiting.append(len(made.content))
                if len(waiting) == PUBLISHED_TOGETHER_FILES or sum(waiting) >= PUBLISHED_TOGETHER_BYTES:
                    waiting.clear()
                    group.publish()

            yield add

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
        with advising(lambda: self._identity):
            made = self._new_aggregator().aggregate(bars, timeframes) if timeframes else {}
        for item in stale:
            content = self._copied(item, bars, minutes) if item.file.is_copy else self._encoded(item, made)
            add(MadeFile(item.file, content, item.fingerprint))

    def _encoded(self, item: StaleAggregate, made: Made) -> bytes:
        file = item.file
        tables = [made[month][file.timeframe] for month in item.changed]
        bars = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        if len(item.changed) < len(item.sources):
            bars = pa.concat_tables([_bars_to_keep(item, self._layout.disk), bars]).sort_by("timestamp")
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
        with self._files.collected():
            for file in published:
                for form in COPY_FORMATS if file.is_copy else ():
                    path = self._layout.copy(file.months[0], form)
                    with suppress(OSError):  # what cannot be examined stays
                        if path != file.path and lexists(self._layout.disk, path):
                            self._files.remove(Path(path))


def _add_to(group: FileGroup, added: list[AggregateFile], made: MadeFile) -> None:
    group.add(Path(made.file.path), made.content, made.fingerprint)
    added.append(made.file)


def _published(added: Iterable[AggregateFile], group: FileGroup) -> list[AggregateFile]:
    return [file for file in added if Path(file.path) in group.modified_ns]


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


def _bars_to_keep(item: StaleAggregate, disk: Disk) -> pa.Table:
    """Return the daily bars of unchanged months, and of months whose minutes are gone: nothing can rebuild those."""
    import pyarrow.compute as pc  # here: it takes 40 ms, and commands that only examine files do without it

    daily = read_bars(Path(item.file.path), disk).select(BAR_SCHEMA.names)
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
