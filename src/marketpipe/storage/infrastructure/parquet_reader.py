from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.parquet_writer import FILE_SCHEMA


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
