"""Whether the aggregate files of a symbol's year agree with their minutes. See ADR 0006.

An aggregate's modification time is the *fingerprint* of the day files it was made from, so a scan of the folders of a
symbol's year shows which files are fresh. ``YearFreshness`` is that test, the only one: the refresh, the check after a
plan and the coverage report all use it. If a fingerprint differs, the digests in the file's metadata decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.storage.domain.data_partition import MonthPartition, day_file
from marketpipe.storage.domain.storage_metadata import differing_days, identity_in, sources_in, sources_of_days
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import (
    INVALID,
    AggregateFile,
    Months,
    YearFingerprints,
    fingerprint_of,
    newest,
)
from marketpipe.storage.infrastructure.aggregates.month_files import NOT_IN_MEMORY, DayFilesOfMonth, Stored
from marketpipe.storage.infrastructure.aggregates.read_copies import ReadCopy, Rows
from marketpipe.storage.infrastructure.parquet_files import checked_bars, file_in, read_file
from marketpipe.storage.infrastructure.store_layout import COPY_FORMATS, StoreLayout, date_of, modified_ns

Sources = dict[str, str]
"""For each month ("2024-01") the digests of its day files."""


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
                layout.disk,
            )
            for month in self._year
        }

    def is_fresh(self, file: AggregateFile) -> bool:
        """Return whether the file was made from just these day files, without opening any. Raises ``StorageError``."""
        return modified_ns(file.path, self._layout.disk) == self.fingerprint(file)

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
                    self._layout.disk.utime(file.path, ns=(found.fingerprint, found.fingerprint))

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
        recorded, identity = _recorded_in(file, self._layout.disk)
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


def _recorded_in(file: AggregateFile, disk: Disk) -> tuple[Sources, DatasetIdentity | None]:
    """Return what a file was made from, and its dataset; nothing for a missing or damaged file, which is rebuilt."""
    if modified_ns(file.path, disk) is None:
        return {}, None
    return _recorded_in_copy(file, disk) if file.is_copy else _recorded_in_aggregate(file.path, disk)


def _recorded_in_aggregate(aggregate: str, disk: Disk) -> tuple[Sources, DatasetIdentity | None]:
    try:
        content, status = read_file(aggregate, disk)
        rows, metadata = file_in(content, aggregate, columns=True)  # behind an intact footer it may be damaged
        checked_bars(rows, aggregate)
        return {} if status.st_mtime_ns == INVALID else sources_in(metadata), identity_in(metadata)
    except (OSError, PartitionUnreadableError):
        return {}, None


def _recorded_in_copy(file: AggregateFile, disk: Disk) -> tuple[Sources, DatasetIdentity | None]:
    try:
        if (copy := ReadCopy.open(file.path, disk=disk)) is None or modified_ns(file.path, disk) == INVALID:
            return {}, None
        copy.intact_bars()
        return dict(copy.sources) if copy.is_of(file.months[0]) else {}, identity_in(copy.metadata)
    except PartitionUnreadableError:
        return {}, None
