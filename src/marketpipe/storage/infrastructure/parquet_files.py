from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.trading_date import (
    EXTENDED_OPEN,
    MINUTES_A_DAY,
    TradedMinutes,
    TradingDate,
)
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION

FILE_SCHEMA = BAR_SCHEMA.append(pa.field("schema_version", pa.int32()))
ENCODINGS = {field.name: "DELTA_BINARY_PACKED" for field in FILE_SCHEMA if not pa.types.is_floating(field.type)}
COMPRESSION_LEVELS = {"zstd": 1, "snappy": None}


class ParquetWriter:
    """Turns bars into the bytes of a Parquet file. The same bars and metadata give the same bytes.

    Prices do not repeat enough for dictionaries; times and counts are small differences. ``compression`` is zstd or
    snappy.
    """

    def __init__(self, compression: str) -> None:
        self._compression = compression

    def encode_bars(self, bars: pa.Table, metadata: Mapping[str, str]) -> bytes:
        return self.encode(versioned(bars), metadata)

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(
            sink,
            table.schema.remove_metadata(),
            compression=self._compression,
            compression_level=COMPRESSION_LEVELS[self._compression],
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
    """With the column ``schema_version``, as bars lie in a file."""
    version = pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), len(bars))
    return bars.append_column(FILE_SCHEMA.field("schema_version"), version)


def sha256(content: bytes | pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()


def read_bars(path: Path) -> pa.Table:
    """Every column of the file format. Raises ``PartitionUnreadableError`` for a damaged file or another format."""
    return checked_bars(_read(path), path)


def content_of(path: str) -> pa.Buffer | None:
    """None where there is no such file. Opened once, so that it is the content of one version of it.

    By Arrow, since whoever reads on several threads pays for every return to Python. Raises
    ``PartitionUnreadableError``.
    """
    try:
        return pa.OSFile(path).read_buffer()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, pa.ArrowException) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else _first_line(error)
        raise PartitionUnreadableError(f"{path} cannot be read: {reason}; move it away") from error


def file_in(content: bytes, path: str, *, columns: bool) -> tuple[pa.Table | None, Mapping[str, str]]:
    """All ``columns``, or just the footer, and the key-value metadata. Raises ``PartitionUnreadableError``."""
    try:
        with _opened(pa.BufferReader(content)) as file:
            return file.read(use_threads=False) if columns else None, _as_text(file.metadata.metadata or {})
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error


def bars_in(content: pa.Buffer, path: str) -> pa.Table:
    """The canonical columns, without what the file says of itself.

    Raises ``PartitionUnreadableError`` for a damaged file or another format.
    """
    try:
        bars = _opened(pa.BufferReader(content)).read(columns=BAR_SCHEMA.names, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error
    return _checked(bars, BAR_SCHEMA, path).replace_schema_metadata()


def read_rejected(path: Path) -> pa.Table:
    """A file of the quarantine. Raises ``PartitionUnreadableError``."""
    return _read(path)


def checked_bars(table: pa.Table, path: Path | str) -> pa.Table:
    """Raises ``PartitionUnreadableError`` for another format."""
    return _checked(table, FILE_SCHEMA, path)


def _checked(table: pa.Table, schema: pa.Schema, path: Path | str) -> pa.Table:
    if not table.schema.equals(schema):
        columns = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        raise PartitionUnreadableError(f"{path} has the columns {columns}: not a file of bars")
    return table


def _opened(source: Path | pa.NativeFile) -> pq.ParquetFile:
    """Too small a file to be worth sharing among threads, or fetching ahead."""
    return pq.ParquetFile(source, pre_buffer=False)


def _read(path: Path) -> pa.Table:
    try:
        with _opened(path) as file:
            return file.read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error


def read_metadata(path: Path) -> Mapping[str, str]:
    """The file's key-value metadata. Raises ``PartitionUnreadableError``."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error
    return _as_text(found)


def _as_text(metadata: Mapping[bytes, bytes]) -> Mapping[str, str]:
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in metadata.items()}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


T = TypeVar("T")
R = TypeVar("R")
WORTH_A_THREAD = 16
"""Files that cost far more to read than a thread to begin."""


def bars_at(path: str) -> pa.Table | None:
    """None where there is no such file. Raises ``PartitionUnreadableError``."""
    content = content_of(path)
    return None if content is None else bars_in(content, path)


def scan_bars(files: Sequence[Path]) -> pa.Table:
    """The bars of many files, in the order given. Raises ``PartitionUnreadableError``, where one is gone as well."""
    return pa.concat_tables([BAR_SCHEMA.empty_table(), *each(_bars_of, files)])


def each(read: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """In the order given, by several threads where it is worth while: decoding Parquet leaves Python alone.

    Each thread takes its share in one go, spread over all of them: whoever hands out less at a time gets in their way.
    """
    count = min(os.cpu_count() or 1, len(items) // WORTH_A_THREAD)
    if count < 2:
        return [read(item) for item in items]
    results: list[Any] = [None] * len(items)
    with ThreadPoolExecutor(count, "marketpipe-load") as readers:
        shares = readers.map(lambda first: [read(item) for item in items[first::count]], range(count))
        for first, share in enumerate(shares):
            results[first::count] = share
    return results


def _bars_of(path: Path) -> pa.Table:
    bars = bars_at(str(path))
    if bars is None:
        raise PartitionUnreadableError(f"{path} is gone")
    return bars


MICROS_PER_MINUTE = 60_000_000
Int64s = npt.NDArray[np.int64]


def traded_minutes(date: TradingDate, epoch_micros: Int64s) -> TradedMinutes:
    """A bar off the grid counts for the minute it lies in; one outside the extended session does not count."""
    return traded_minutes_of([date], [len(epoch_micros)], epoch_micros)[0]


def traded_minutes_of(
    dates: Sequence[TradingDate], lengths: Sequence[int], epoch_micros: Int64s
) -> list[TradedMinutes]:
    """Of many days at once, which lie end to end: for each so many bars."""
    days = np.repeat(np.arange(len(dates)), lengths)
    minutes = (
        epoch_micros - np.repeat(np.array([_opens(date) for date in dates], np.int64), lengths)
    ) // MICROS_PER_MINUTE
    within = (minutes >= 0) & (minutes < MINUTES_A_DAY)
    traded = np.zeros((len(dates), MINUTES_A_DAY), np.bool_)
    traded[days[within], minutes[within]] = True
    return [TradedMinutes(row.tobytes().rstrip(b"\0")) for row in np.packbits(traded, axis=1, bitorder="little")]


@lru_cache(1 << 14)
def _opens(date: TradingDate) -> int:
    return date.at(EXTENDED_OPEN).epoch_micros
