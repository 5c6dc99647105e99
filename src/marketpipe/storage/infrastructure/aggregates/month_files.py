"""The day files of one month as aggregates and read copies are made from them: their fingerprint, digests and bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Final

import pyarrow as pa
from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, VersionMark
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import MOVE_AWAY
from marketpipe.storage.domain.storage_metadata import day_digests, sources_in
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import described, fingerprint_of, newest
from marketpipe.storage.infrastructure.aggregates.read_copies import ReadCopy, Rows
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.parquet_files import advising, bars_in, content_of, read_metadata, sha256
from marketpipe.storage.infrastructure.store_layout import (
    GONE,
    DayFile,
    date_of,
    day_in,
    modified_ns,
    scan_day_files,
)


@frozen(eq=False)
class StoredDay:
    """A day file as it was stored: the mark and the digest of its version, and its bars, ``rows`` of a ``table``."""

    mark: VersionMark
    digest: str
    table: pa.Table = field(repr=False)
    offset: int
    rows: int


@frozen(eq=False)
class MonthInMemory:
    """Day files of a month as they were stored, by the day of the month."""

    days: Mapping[int, StoredDay]

    def checked(self, day_files: Iterable[DayFile]) -> MonthInMemory:
        """Return this month if it has just these files, none else. Raises ``PartitionUnreadableError``."""
        if {day_in(name): file_mark(size, time) for name, size, time in day_files} != {
            number: day.mark for number, day in self.days.items()
        }:
            raise PartitionUnreadableError("the month has files that are not in memory")
        return self

    @property
    def digests(self) -> str:
        return day_digests({number: day.digest for number, day in self.days.items()})

    @property
    def rows(self) -> Rows:
        return {number: self.days[number].rows for number in sorted(self.days)}

    def tables(self) -> Iterator[pa.Table]:
        """Yield the bars, one day after another. Days that follow one another in a table are one slice of it."""
        table, start, end = None, 0, 0
        for _, day in sorted(self.days.items(), key=itemgetter(0)):
            if day.table is not table or day.offset != end:
                if table is not None:
                    yield table.slice(start, end - start)
                table, start = day.table, day.offset
            end = day.offset + day.rows
        if table is not None:
            yield table.slice(start, end - start)


NOT_IN_MEMORY: Final = MonthInMemory({})
Stored = Mapping[MonthPartition, MonthInMemory]
"""Months of one symbol and year."""


@define(eq=False)
class DayFilesOfMonth:
    """The day files of a month: scanned when they are first needed, read when they are first needed, each once."""

    month: MonthPartition
    folder: str
    digest_source: str | None = None
    """An aggregate of this month alone. If it has the fingerprint of these files, its digests are theirs."""
    copies: tuple[str, ...] = ()
    """Where a read copy of this month may be. With that fingerprint its bars are theirs, too."""
    stored: MonthInMemory | None = None
    """The same files as they were stored, which are used instead of reading any; None: they are read."""

    identity: DatasetIdentity | None = None
    """The dataset that a copy must be of; None: it may be of any."""
    disk: Disk = REAL_DISK

    @cached_property
    def day_files(self) -> list[DayFile]:
        """Scan the folder. Raises ``StorageError``."""
        with self._advising():
            found = scan_day_files(self.folder, self.disk)
            for name, size, _ in found:
                if size < 0:
                    kind = "a broken link" if size == GONE else "not a file"
                    raise PartitionUnreadableError(f"{self.folder}/{name} is {kind}; {MOVE_AWAY}")
        return found

    @cached_property
    def fingerprint(self) -> int:
        return fingerprint_of(self.description, newest([self.day_files]))

    @cached_property
    def description(self) -> str:
        return described(self.month.month, self.day_files)

    @cached_property
    def digests(self) -> str:
        """Hash the day files, or take the digests of a fresh copy or aggregate. Raises ``PartitionUnreadableError``."""
        if self._copy is not None:
            return self._copy[0].sources[str(self.month)]
        if (
            self.digest_source
            and modified_ns(self.digest_source, self.disk) == self.fingerprint
            and (found := self._digests_in(self.digest_source))
        ):
            return found
        if (in_memory := self._in_memory) is not None:
            return in_memory.digests
        with self._advising():
            return day_digests({day_in(name): sha256(content) for name, content in self._contents.items()})

    def bars(self) -> pa.Table:
        """Read all bars of the month. Raises ``PartitionUnreadableError``: of half a month no aggregate is made."""
        if self._copy is not None:
            return self._copy[1]
        in_memory = self._in_memory
        tables = [*(self._tables.values() if in_memory is None else in_memory.tables())]
        return pa.concat_tables(tables or [BAR_SCHEMA.empty_table()])

    @property
    def rows(self) -> Rows:
        """The number of bars of each day. Raises ``PartitionUnreadableError``."""
        if self._copy is not None:
            return self._copy[0].rows
        in_memory = self._in_memory
        return {day: len(bars) for day, bars in self._tables.items()} if in_memory is None else in_memory.rows

    @cached_property
    def _in_memory(self) -> MonthInMemory | None:
        return None if self.stored is None else self.stored.checked(self.day_files)

    @cached_property
    def _tables(self) -> Mapping[int, pa.Table]:
        with self._advising():
            return {day_in(name): bars_in(content, f"{self.folder}/{name}") for name, content in self._contents.items()}

    def _advising(self) -> AbstractContextManager[None]:
        return advising(lambda: self.identity)

    @cached_property
    def _copy(self) -> tuple[ReadCopy, pa.Table] | None:
        """A fresh copy and its bars, which were compared with their digest: they go into files that last."""
        for path in self.copies:
            with suppress(PartitionUnreadableError):
                if self._is_fresh(path) and (copy := ReadCopy.open(path, disk=self.disk)) is not None:
                    bars = copy.intact_bars()
                    if self._is_fresh(path) and copy.is_of(self.month, self.identity):
                        return copy, bars
        return None

    def _is_fresh(self, path: str) -> bool:
        return modified_ns(path, self.disk) == self.fingerprint

    def _digests_in(self, aggregate: str) -> str | None:
        try:
            return sources_in(read_metadata(Path(aggregate), self.disk)).get(str(self.month))
        except PartitionUnreadableError:
            return None

    @cached_property
    def _contents(self) -> Mapping[str, pa.Buffer]:
        year, month = self.month.year, self.month.month
        names = (name for name, _, _ in self.day_files if date_of(year, month, name))  # no foreign day=99.parquet
        found = ((name, content_of(f"{self.folder}/{name}", self.disk)) for name in names)
        return {name: content for name, content in found if content is not None}
