"""Read copies: the minutes of a symbol's month a second time, in one file that is quick to read. See ADR 0041.

A copy is kept as an aggregate of one minute would be: its modification time is the fingerprint of its day files, and
its metadata has their digests. It also has the number of bars of each day, so that days are cut out without a search,
and a digest of its bars, by which ``verify`` and aggregation know that they are what was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from functools import cache, cached_property
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, is_folder
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.storage_metadata import PREFIX, days_in, identity_in, sources_in
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import (
    Scanned,
    described,
    fingerprint_of,
    newest,
)
from marketpipe.storage.infrastructure.aggregates.bounded_cache import make_room
from marketpipe.storage.infrastructure.parquet_files import (
    FileStatus,
    Int64s,
    as_text,
    checked_bars,
    content_of,
    decoding,
    end_of_file,
    file_status,
    refuse_special,
    times_of,
)
from marketpipe.storage.infrastructure.store_layout import (
    ARROW,
    COPY_FORMATS,
    StoreLayout,
    modified_ns,
    refuse_links,
    scan_day_files,
)

ENCODINGS: Final = {
    field.name: "BYTE_STREAM_SPLIT" if pa.types.is_floating(field.type) else "DELTA_BINARY_PACKED"
    for field in BAR_SCHEMA
}
FOOTER_BYTES: Final = 8192
"""The end of a file in Parquet that surely has the whole metadata of a copy; if it has not, the footer is parsed."""
ASOF: Final = f"{PREFIX}asof".encode()
MOST_KEPT: Final = 8192
"""A process may map some ten thousand files, and others than these. Of more, a load reads copies instead."""
ROWS, DIGEST = f"{PREFIX}rows", f"{PREFIX}bars"
Rows = dict[int, int]
"""The number of bars of each day of the month that has a file, ascending."""


def encode_copy(bars: pa.Table, rows: Rows, metadata: Mapping[str, str], form: str) -> bytes:
    """Return the content of a copy of a month's bars, one day after another, with these numbers of ``rows``.

    ``metadata`` is that of an aggregate; ``form`` is parquet or arrow. The same arguments give the same bytes.
    """
    bars = bars.select(BAR_SCHEMA.names).combine_chunks().replace_schema_metadata()
    counts = " ".join(f"{day:02d}={count}" for day, count in rows.items())
    described_bars = {**metadata, ROWS: counts, DIGEST: digest_of(bars)}
    sink = pa.BufferOutputStream()
    if form == ARROW:
        with pa.ipc.new_file(sink, bars.schema.with_metadata(described_bars)) as writer:
            writer.write_table(bars)
    else:
        # Chosen by measuring: as quick to read as no other encoding of this size, and to write. See ADR 0041.
        options = {"use_dictionary": False, "column_encoding": ENCODINGS, "write_statistics": ["timestamp"]}
        with pq.ParquetWriter(sink, bars.schema, compression="lz4", store_schema=False, **options) as writer:
            writer.write_table(bars)
            writer.add_key_value_metadata(described_bars)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def digest_of(bars: pa.Table) -> str:
    """Return a digest of the values of all columns, whatever is in the places of nulls."""
    digest = hashlib.sha256()
    for column in bars.columns:
        if column.null_count:
            digest.update(column.is_null().combine_chunks().cast(pa.uint8()).to_numpy(zero_copy_only=False))
            column = column.fill_null(0)
        for chunk in column.chunks:
            digest.update(chunk.view(pa.int64()).to_numpy())
    return digest.hexdigest()


@frozen(eq=False)
class DateRuns:
    """The trading dates of bars, in runs: each of the ``days``, by its number since 1970, has so many of the bars as
    ``counts`` has in its place.
    """

    days: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    first: int | None
    """The time of the first bar in microseconds since 1970; None if the times do not ascend, or there is no bar."""
    last: int | None
    """That of the last bar, with the same exception."""


def _bounds_if_ascending(times: Int64s) -> tuple[int, int] | tuple[None, None]:
    return (int(times[0]), int(times[-1])) if len(times) and (times[1:] >= times[:-1]).all() else (None, None)


@frozen(eq=False)
class ReadCopy:
    """An opened copy of a month. Raises ``PartitionUnreadableError``, also for a copy that is torn."""

    path: str
    metadata: Mapping[str, str]
    source: pa.ipc.RecordBatchFileReader | pq.ParquetFile
    is_mapped: bool

    @classmethod
    def open(cls, path: str, *, mapped: bool = True, disk: Disk = REAL_DISK) -> ReadCopy | None:
        """Open a copy; None if it does not exist. ``mapped``: of an Arrow file nothing is read before it is used."""
        with decoding(path):
            if not path.endswith(f".{ARROW}"):
                return None if (content := content_of(path, disk)) is None else cls.of(content, path)
            try:
                refuse_special(path, disk)
                content = disk.mapped(path) if mapped else disk.opened(path).read_buffer()
                return cls._of_arrow(content, path, is_mapped=mapped)
            except (FileNotFoundError, NotADirectoryError):
                return None

    @classmethod
    def of(cls, content: pa.Buffer, path: str) -> ReadCopy:
        """Return the copy in the content of a file."""
        with decoding(path):
            if path.endswith(f".{ARROW}"):
                return cls._of_arrow(content, path, is_mapped=False)
            parquet = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
            return cls(path, as_text(parquet.metadata.metadata or {}), parquet, is_mapped=False)

    @classmethod
    def _of_arrow(cls, content: pa.Buffer, path: str, *, is_mapped: bool) -> ReadCopy:
        # Of a buffer Arrow reads on this thread. From a file it would read by another one, which has to be waited for.
        found = pa.ipc.open_file(content)
        return cls(path, as_text(found.schema.metadata or {}), found, is_mapped)

    @property
    def sources(self) -> Mapping[str, str]:
        """For its month the digests of the day files that it was made from."""
        return sources_in(self.metadata)

    @cached_property
    def rows(self) -> Rows:
        pairs = (part.partition("=") for part in self.metadata.get(ROWS, "").split())
        with decoding(self.path):
            return {int(day): int(count) for day, _, count in pairs}

    def is_of(self, month: MonthPartition, identity: DatasetIdentity | None = None) -> bool:
        """Return whether it is a copy of this month, and of all the days that it names.

        None is any dataset, as it is if the copy names none.
        """
        if identity is not None and identity_in(self.metadata) not in (None, identity):
            return False
        stated = self.metadata.get(f"{PREFIX}symbol"), self.metadata.get(f"{PREFIX}period")
        return stated == (str(month.symbol), str(month)) and tuple(self.rows) == days_in(
            self.sources.get(str(month), "")
        )

    def bars(self, columns: pa.Schema = BAR_SCHEMA, days: range | None = None) -> pa.Table:
        """Return these columns of the days, or of all. Days that it does not have are left out."""
        with decoding(self.path):
            if isinstance(self.source, pq.ParquetFile):
                found = self._checked(self.source.read(columns=columns.names, use_threads=False), columns)
            else:
                found = self._arrow_bars if columns is BAR_SCHEMA else self._arrow_bars.select(columns.names)
            return found if days is None else self._of_days(found, days)

    @cached_property
    def _arrow_bars(self) -> pa.Table:
        """All bars of a copy in Arrow's format: nothing of them is read, so they cost no memory."""
        batches = map(self.source.get_batch, range(self.source.num_record_batches))
        found = pa.Table.from_batches(batches, self.source.schema)
        found.validate()  # the lengths of its buffers, which may be beyond the end of a torn file
        return self._checked(found, BAR_SCHEMA)

    @cached_property
    def trading_dates(self) -> pa.Array:
        """The trading date of each bar, encoded in runs: it takes no memory to speak of."""
        ends, days = np.cumsum(self.date_runs.counts, dtype=np.int32), self.date_runs.days
        return pa.RunEndEncodedArray.from_arrays(pa.array(ends), pa.array(days).cast(pa.date32()))

    @cached_property
    def date_runs(self) -> DateRuns:
        """Those of all its bars; for a mapped copy, which is kept."""
        return self.date_runs_of(times_of(self.bars()))

    def date_runs_of(self, times: Int64s) -> DateRuns:
        """Return the runs of trading dates, given the times of all its bars."""
        year, month = map(int, self.metadata[f"{PREFIX}period"].split("-"))
        counts = {date(year, month, day): count for day, count in self.rows.items() if count}
        numbers = np.fromiter(counts.values(), np.int32, len(counts))
        ends = np.cumsum(numbers, dtype=np.int32)
        days = np.array(list(counts), "datetime64[D]").astype(np.int32)
        # Bars of a day ascend: if the first and the last have its date, all have it.
        if not all((day_numbers(times[at]) == days).all() for at in (ends - numbers, ends - 1)):
            each = day_numbers(times).astype(np.int32)
            starts = np.flatnonzero(np.diff(each, prepend=each[:1] - 1))
            days, numbers = each[starts], np.diff(starts, append=len(each)).astype(np.int32)
        return DateRuns(days, numbers, *_bounds_if_ascending(times))

    def _checked(self, bars: pa.Table, columns: pa.Schema) -> pa.Table:
        found, named = checked_bars(bars.replace_schema_metadata(), self.path, columns), sum(self.rows.values())
        if named != len(found):
            raise PartitionUnreadableError(f"{self.path} has {len(found):,} bars, and names {named:,}")
        return found

    def intact_bars(self) -> pa.Table:
        """Return all bars, after they were compared with their digest."""
        found = self.bars()
        if digest_of(found) != self.metadata.get(DIGEST):
            raise PartitionUnreadableError(f"{self.path} is damaged: its bars are not those that were written")
        return found

    def _of_days(self, bars: pa.Table, days: range) -> pa.Table:
        rows = self.rows
        if not rows or (next(iter(rows)) in days and next(reversed(rows)) in days):  # they ascend
            return bars
        wanted = [day for day in rows if day in days]
        ends = dict(zip(rows, accumulate(rows.values()), strict=True))
        start, end = (ends[wanted[0]] - rows[wanted[0]], ends[wanted[-1]]) if wanted else (0, 0)
        found = bars.slice(start, end - start)
        # A slice of decoded bars would keep the others in memory as long as it lives.
        return found if self.is_mapped else found.take(np.arange(len(found)))


class OpenedCopies:
    """Keeps mapped copies in Arrow's format open and checked, for the readers of an open store.

    What is kept is used while its file is the same: by inode, size and times. It takes addresses, and of memory
    about 13 kB each. Some leave if there are too many. Several threads may call.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most, self._kept = most, dict[str, tuple[FileStatus, DatasetIdentity | None, ReadCopy]]()

    def of(self, copy: FreshCopy) -> ReadCopy | None:
        """Return the opened copy, of the file that was found fresh; None if it is torn, or was replaced meanwhile."""
        status, found = copy.status, self._kept.get(copy.path)
        if found is not None and found[0] == status and found[1] == copy.identity:
            return found[2]
        opened = copy.opened_anew()
        if opened is not None and status is not None and file_status(copy.path, copy.disk) == status:
            self._keep(copy, status, opened)
        return opened

    def close(self) -> None:
        """Keep nothing any more. Tables that were read stay as they are."""
        self._kept.clear()

    def _keep(self, copy: FreshCopy, status: FileStatus, opened: ReadCopy) -> None:
        make_room(self._kept, self._most)
        self._kept[copy.path] = status, copy.identity, opened


class FreshCopies:
    """Finds the copies that agree with their day files: by the modification time alone, as for aggregates."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: Callable[[], DatasetIdentity | None],
        scanned: Scanned | None = None,
        opened: OpenedCopies | None = None,
    ) -> None:
        """``identity`` finds the dataset of the store, and is asked if there is a copy: two stores may be configured to
        share one folder of copies. ``scanned`` finds the fingerprints of day files; without it they are scanned here.
        ``opened`` keeps what is opened.
        """
        # Not a cached_property: those of Python 3.11 hold one lock of all copies while a file is read.
        self._identity, self._opened = cache(identity), opened
        # Thousands of months pass through here: paths are text, and each folder is tested for links once.
        self._layout, self._examined = layout, set[str]()
        self._fingerprint = scanned or self._scanned
        self._data, self._copies = str(layout.data), str(layout.copies)
        self._exist = False
        with suppress(OSError):
            self._exist = is_folder(layout.disk, layout.copies)

    def of(self, month: MonthPartition) -> FreshCopy | None:
        """Return the copy of a month; None if there is none, or a stale one. Raises ``StorageError``."""
        folder = month.folder if self._exist else ""
        for form in COPY_FORMATS if self._exist else ():
            path = f"{self._copies}/{folder}.{form}"
            if (status := file_status(path, self._layout.disk)) is not None:
                self._refuse_links(folder.rpartition("/")[0])
                if status.modified_ns == self._fingerprint(month):
                    return FreshCopy(
                        month, path, status.modified_ns, self._identity(), status, self._opened, self._layout.disk
                    )
        return None

    def _refuse_links(self, folder: str) -> None:
        if folder not in self._examined:
            refuse_links(self._layout.copies, folder, self._layout.disk)
            self._examined.add(folder)

    def _scanned(self, month: MonthPartition) -> int | None:
        """Return the fingerprint of the month's day files; None if one of them is no file."""
        found = scan_day_files(f"{self._data}/{month.folder}", self._layout.disk)
        if any(size < 0 for _, size, _ in found):
            return None
        return fingerprint_of(described(month.month, found), newest([found]))


@frozen
class FreshCopy:
    """A copy that agreed with its day files when it was looked for."""

    month: MonthPartition
    path: str
    fingerprint: int
    identity: DatasetIdentity | None = None
    """The dataset of the store; None if it is not known."""
    status: FileStatus | None = None
    """That of the file when it was found fresh."""
    kept: OpenedCopies | None = field(default=None, repr=False, eq=False)
    """Keeps what is opened of many copies."""
    disk: Disk = field(default=REAL_DISK, repr=False, eq=False)

    @property
    def is_arrow(self) -> bool:
        return self.path.endswith(f".{ARROW}")

    def opened(self, *, mapped: bool = True) -> ReadCopy | None:
        """Open it; None if it is torn, or was replaced meanwhile."""
        if self.kept is None or not (mapped and self.is_arrow):
            return self.opened_anew(mapped=mapped)
        return self.kept.of(self)

    def opened_anew(self, *, mapped: bool = True) -> ReadCopy | None:
        """Open it, as ``opened``, from its file."""
        try:
            copy = ReadCopy.open(self.path, mapped=mapped, disk=self.disk)
            # Its time is read again after it was opened: what has it before and after is what was opened.
            is_still = copy is not None and modified_ns(self.path, self.disk) == self.fingerprint
            return copy if is_still and copy is not None and copy.is_of(self.month, self.identity) else None
        except PartitionUnreadableError:
            return None

    def names_its_place(self) -> bool:
        """Return whether a copy in Parquet names this month and this dataset, without parsing its footer.

        SQL reads thousands of them, and takes the symbol from the path.
        """
        try:
            footer = end_of_file(self.path, FOOTER_BYTES, self.disk)
        except OSError:
            return False
        is_mapped = self.identity is not None and self.identity.asof != NO_MAPPING
        is_seen = (ASOF in footer) == is_mapped and all(entry in footer for entry in self._entries())
        return is_seen or self.opened() is not None

    def _entries(self) -> Iterator[bytes]:
        """Yield what a footer has of symbol, month and dataset: Thrift writes lengths of up to 127 as one byte."""
        named = {"symbol": str(self.month.symbol), "period": str(self.month)}
        if self.identity is not None:
            named |= {key: getattr(self.identity, key) for key in ("provider", "feed", "adjustment", "asof")}
            if self.identity.asof == NO_MAPPING:
                del named["asof"]
        for key, value in named.items():
            text = value.encode()
            yield b"%s%s\x18%c%s\x00" % (PREFIX.encode(), key.encode(), min(len(text), 127), text)

    def bars(self, columns: pa.Schema, days: range | None = None, *, mapped: bool = True) -> pa.Table | None:
        """Return these columns of the days, or of all; None if it is torn, or was replaced meanwhile."""
        try:
            copy = self.opened(mapped=mapped)
            return None if copy is None else copy.bars(columns, days)
        except PartitionUnreadableError:
            return None
