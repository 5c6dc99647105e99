"""Bars to the bytes of a Parquet file and back: ``ParquetWriter``, and the functions that read.

Every reading function raises ``PartitionUnreadableError`` for a file that is damaged or has another format.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.domain.trading_date import (
    EXTENDED_OPEN,
    MINUTES_A_DAY,
    TradedMinutes,
    TradingDate,
)
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, FILE_SCHEMA, SCHEMA_VERSION
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, read_all
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import MOVE_AWAY, NO_FILE, repair_of, repaired_by
from marketpipe.storage.infrastructure.compacted.day_access import month_unreadable, read_day

ENCODINGS: Final = {field.name: "DELTA_BINARY_PACKED" for field in FILE_SCHEMA if not pa.types.is_floating(field.type)}
COMPRESSION_LEVELS: Final = {"zstd": 1, "snappy": None}
SMALL_DAY_COMPRESSION: Final = "snappy"
AGGREGATE_COMPRESSION: Final = "snappy"
"""Of aggregates, whatever is configured for day files: they take half the time to encode. See docs/adr/0043."""
SMALL_DAY: Final = 100
"""Rows up to which a day file has snappy in place of zstd: half the time to encode, and from 3 % smaller (20 rows) to
10 % larger (100). Above that zstd gains too much. See docs/adr/0043."""
WORTH_A_THREAD: Final = 16
"""So many files cost far more to read than a thread costs to start."""

FOREIGN: Final = (OSError, pa.ArrowException, ValueError, LookupError, TypeError, ArithmeticError, MemoryError)
"""What Arrow raises for bytes that are not Parquet. It decodes names as Python does, which raises errors of its own."""

T = TypeVar("T")
R = TypeVar("R")
Int64s = npt.NDArray[np.int64]


class ParquetWriter:
    """Encodes bars as Parquet. The same bars and metadata give the same bytes."""

    def __init__(self, compression: str) -> None:
        """``compression`` is zstd or snappy."""
        self._compression = compression

    def encode_day(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """Return the bytes of a day file with these columns of a file: as ``encode``, but for the codec of few rows."""
        return self._encoded(table, metadata, SMALL_DAY_COMPRESSION if self.has_two_forms(table) else self._compression)

    def has_two_forms(self, table: pa.Table) -> bool:
        """Return whether versions of MarketPipe before ``SMALL_DAY`` wrote a day file with these bars otherwise.

        They wrote what ``encode`` returns.
        """
        return len(table) <= SMALL_DAY and self._compression != SMALL_DAY_COMPRESSION

    def encode_aggregate(self, bars: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """Return the bytes of a file of aggregated bars: as ``encode_bars``, but for the codec."""
        return self._encoded(versioned(bars), metadata, AGGREGATE_COMPRESSION)

    def encode_bars(self, bars: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """Return the bytes of a file of bars; the column ``schema_version`` is added."""
        return self.encode(versioned(bars), metadata)

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """Return the bytes of a file with just these columns and this key-value metadata."""
        return self._encoded(table, metadata, self._compression)

    def _encoded(self, table: pa.Table, metadata: Mapping[str, str], compression: str) -> bytes:
        # Prices do not repeat enough for dictionaries; times and counts differ little from row to row. Statistics are
        # of the one column that readers filter by.
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(
            sink,
            table.schema.remove_metadata(),
            compression=compression,
            compression_level=COMPRESSION_LEVELS[compression],
            use_dictionary=False,
            column_encoding=ENCODINGS,
            write_statistics=["timestamp"],
            store_schema=False,
        ) as writer:
            writer.write_table(table.replace_schema_metadata())
            writer.add_key_value_metadata(dict(metadata))
        content: bytes = sink.getvalue().to_pybytes()
        return content


def versioned(bars: pa.Table) -> pa.Table:
    """Return the bars with the column ``schema_version``, as a file has them."""
    return bars.append_column(FILE_SCHEMA.field("schema_version"), _versions(1 << len(bars).bit_length())[: len(bars)])


@lru_cache(16)
def _versions(count: int) -> pa.Array:
    return pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), count)


def sha256(content: bytes | pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()


def read_bars(path: Path, disk: Disk = REAL_DISK) -> pa.Table:
    """Return every column of a file of bars."""
    return checked_bars(read_rows(path, disk), path)


def content_of(path: str, disk: Disk = REAL_DISK) -> pa.Buffer | None:
    """Return the content of a file, opened once and so of one version of it; None if it does not exist.

    That of a day file may be in the file of its month.
    """
    try:  # by Arrow: with several reading threads each return to Python costs a wait for the interpreter's lock
        try:
            refuse_special(path, disk)
            return disk.opened(path).read_buffer()
        except (FileNotFoundError, NotADirectoryError):
            found = read_day(path, disk)
            return None if found is None else pa.py_buffer(found.content)
    except (OSError, pa.ArrowException) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else _first_line(error)
        raise PartitionUnreadableError(f"{path} cannot be read: {reason}; move it away") from error


def refuse_special(path: Path | str, disk: Disk = REAL_DISK) -> None:
    """Raise ``PartitionUnreadableError`` for what is no file: a folder, or a pipe, which would be waited for for ever.

    Raises ``OSError`` if nothing has that name, or a link that leads nowhere.
    """
    if not stat.S_ISREG(disk.stat(path).st_mode):
        raise PartitionUnreadableError(f"{path} is not a file; {MOVE_AWAY}")


class FileStatus(NamedTuple):
    """What tells two versions of a file apart without reading them; times are in nanoseconds since 1970."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def file_status(path: str, disk: Disk = REAL_DISK) -> FileStatus | None:
    """Return the status of a file; None if there is none, or it is not a file, or may not be examined."""
    try:
        found = disk.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileStatus(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read_file(path: Path | str, disk: Disk = REAL_DISK) -> tuple[bytes, os.stat_result]:
    """Return the content and the status of a file, opened once: of one version. Raises ``OSError`` that names it.

    Also for a pipe, which would be waited for for ever.
    """
    descriptor = disk.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = disk.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, NO_FILE)
        return read_all(disk, descriptor), status
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        disk.close(descriptor)


def end_of_file(path: str, size: int, disk: Disk = REAL_DISK) -> bytes:
    """Return the last bytes of a file, as many or all that it has. Raises ``OSError``."""
    descriptor = disk.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return disk.pread(descriptor, size, max(0, disk.fstat(descriptor).st_size - size))
    finally:
        disk.close(descriptor)


def stored_content(path: Path | str, disk: Disk = REAL_DISK) -> tuple[bytes, int] | None:
    """Return the content and the modification time, in nanoseconds, of one version of a file; None if there is none.

    Those of a day file may be in the file of its month. Raises ``OSError``, and ``PartitionUnreadableError``.
    """
    try:
        content, status = read_file(path, disk)
        return content, status.st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        found = read_day(str(path), disk)
        return None if found is None else (found.content, found.modified_ns)


def file_in(content: bytes | pa.Buffer, path: str, *, columns: bool) -> tuple[pa.Table | None, Mapping[str, str]]:
    """Return the columns (None without ``columns``: then only the footer is decoded) and the key-value metadata."""
    with decoding(path), _opened(pa.BufferReader(content)) as file:
        return file.read(use_threads=False) if columns else None, as_text(file.metadata.metadata or {})


def bars_in(
    content: pa.Buffer, path: str, columns: pa.Schema = BAR_SCHEMA, groups: Sequence[int] | None = None
) -> pa.Table:
    """Return these of the canonical columns of a file of bars, without its metadata; no other column is decoded.

    With ``groups``, those of these row groups alone.
    """
    with decoding(path), _opened(pa.BufferReader(content)) as file:
        wanted = range(file.num_row_groups) if groups is None else groups
        bars = file.read_row_groups(wanted, columns=columns.names, use_threads=False)
    return checked_bars(bars, path, columns).replace_schema_metadata()


def checked_bars(table: pa.Table, path: Path | str, schema: pa.Schema = FILE_SCHEMA) -> pa.Table:
    """Return the table if it has the columns of a file of bars."""
    if not table.schema.equals(schema):
        columns = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        raise PartitionUnreadableError(f"{path} has the columns {columns}: not a file of bars")
    return table


def _opened(source: pa.NativeFile) -> pq.ParquetFile:
    """Open a file that is too small for several threads, or for reading ahead, to be worth it."""
    return pq.ParquetFile(source, pre_buffer=False)


def read_rows(path: Path, disk: Disk = REAL_DISK) -> pa.Table:
    """Return every column of a file, of bars or of the quarantine."""
    with decoding(path):
        if (content := content_of(str(path), disk)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        with _opened(pa.BufferReader(content)) as file:
            return file.read(use_threads=False)


def read_metadata(path: Path, disk: Disk = REAL_DISK) -> Mapping[str, str]:
    """Return the key-value metadata of a file."""
    with decoding(path):
        try:
            refuse_special(path, disk)
            with disk.opened(str(path)) as file:
                found = pq.read_metadata(file)
        except FileNotFoundError:
            if (day := read_day(str(path), disk)) is None:
                raise
            found = pq.read_metadata(pa.BufferReader(day.content))
        return as_text(found.metadata or {})


def as_text(metadata: Mapping[bytes, bytes]) -> Mapping[str, str]:
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in metadata.items()}


@contextmanager
def decoding(path: Path | str) -> Iterator[None]:
    """Translate whatever damaged bytes make Arrow raise: the only place that does."""
    try:
        yield
    except PartitionUnreadableError:
        raise
    except FOREIGN as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def bars_at(path: str, columns: pa.Schema = BAR_SCHEMA, disk: Disk = REAL_DISK) -> pa.Table | None:
    """Return these of the canonical columns of a file of bars; None if it does not exist."""
    content = content_of(path, disk)
    return None if content is None else bars_in(content, path, columns)


def scan_bars(files: Sequence[Path], columns: pa.Schema = BAR_SCHEMA, machine: Machine = HERE) -> pa.Table:
    """Return the bars of many files, in the order given. A missing file is an error too."""
    read = partial(_bars_of, columns=columns, disk=machine.disk)
    return pa.concat_tables([columns.empty_table(), *map_in_threads(read, files, machine)])


def map_in_threads(read: Callable[[T], R], items: Sequence[T], machine: Machine = HERE) -> list[R]:
    """Return what ``read`` returns for each item, in the order given; by several threads if there are enough items."""
    # Decoding Parquet releases the interpreter's lock. Each thread takes its whole share at once, spread over all
    # items: to hand out items one by one would cost the lock each time.
    count = min(machine.processors, len(items) // WORTH_A_THREAD)
    if count < 2:
        return [read(item) for item in items]
    results: list[Any] = [None] * len(items)
    with machine.threads.executor(count, "marketpipe-load") as readers:
        shares = readers.map(lambda first: [read(item) for item in items[first::count]], range(count))
        for first, share in enumerate(shares):
            results[first::count] = share
    return results


def _bars_of(path: Path, columns: pa.Schema, disk: Disk) -> pa.Table:
    bars = bars_at(str(path), columns, disk)
    if bars is None:
        raise PartitionUnreadableError(f"{path} was removed while it was read")
    return bars


def times_of(bars: pa.Table) -> Int64s:
    """Return the times in microseconds since 1970; rows without a time are skipped."""
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times


def traded_minutes(date: TradingDate, epoch_micros: Int64s) -> TradedMinutes:
    """Return the minutes of the extended session that have a bar. A bar within a minute counts for that minute."""
    return traded_minutes_of([date], [len(epoch_micros)], epoch_micros)[0]


def traded_minutes_of(
    dates: Sequence[TradingDate], lengths: Sequence[int], epoch_micros: Int64s
) -> list[TradedMinutes]:
    """Return the same for many days at once; ``epoch_micros`` has the times of one day after another, so many each."""
    days, opens = np.arange(len(dates)).repeat(lengths), np.array([_opens(date) for date in dates], np.int64)
    minutes = (epoch_micros - opens.repeat(lengths)) // MICROS_PER_MINUTE
    within = (minutes >= 0) & (minutes < MINUTES_A_DAY)
    traded = np.zeros((len(dates), MINUTES_A_DAY), np.bool_)
    traded[days[within], minutes[within]] = True
    return [TradedMinutes(row.tobytes().rstrip(b"\0")) for row in np.packbits(traded, axis=1, bitorder="little")]


@lru_cache(1 << 14)
def _opens(date: TradingDate) -> int:
    return date.at(EXTENDED_OPEN).epoch_micros


@contextmanager
def advising(identity: Callable[[], DatasetIdentity | None]) -> Iterator[None]:
    """Let an error of a damaged file in this block name what repairs it in a store of this dataset.

    What reads a file knows no more than its path: which dataset the store is of, ``identity`` returns, None if that is
    not known; it is asked only then. The advice of an error that has passed such a block before is replaced.
    """
    try:
        yield
    except MonthUnreadableError as error:
        raise month_unreadable(error.path, error.problem, repair_of(_month_of(error.path), identity())) from error
    except PartitionUnreadableError as error:
        problem = error.problem or str(error).rstrip(".")
        advised = PartitionUnreadableError(f"{problem}. {error.advice or repaired_by(identity())}")
        advised.problem, advised.advice = problem, error.advice
        raise advised from error


def _month_of(path: str) -> MonthPartition:
    """Return the month of a file in its folder, such as ``symbol=AAPL/year=2024/month=01/days.parquet``."""
    symbol, year, month = (folder.partition("=")[2] for folder in PurePath(path).parts[-4:-1])
    return MonthPartition(Symbol(symbol), int(year), int(month))
