from __future__ import annotations

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


def file_in(content: bytes, path: str, *, columns: bool) -> tuple[pa.Table | None, Mapping[str, str]]:
    """All ``columns``, or just the footer, and the key-value metadata. Raises ``PartitionUnreadableError``."""
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            return file.read(use_threads=False) if columns else None, _as_text(file.metadata.metadata or {})
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error


def bars_in(content: bytes, path: str) -> pa.Table:
    """The canonical columns. Raises ``PartitionUnreadableError`` for a damaged file or another format."""
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            _check(file.schema_arrow, path)
            return file.read(columns=BAR_SCHEMA.names, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise PartitionUnreadableError(f"{path} is damaged: {_first_line(error)}") from error


def read_rejected(path: Path) -> pa.Table:
    """A file of the quarantine. Raises ``PartitionUnreadableError``."""
    return _read(path)


def checked_bars(table: pa.Table, path: Path | str) -> pa.Table:
    """Raises ``PartitionUnreadableError`` for another format."""
    _check(table.schema, path)
    return table


def _check(schema: pa.Schema, path: Path | str) -> None:
    if not schema.equals(FILE_SCHEMA):
        columns = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise PartitionUnreadableError(f"{path} has the columns {columns}: not a file of bars")


def _read(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(use_threads=False)  # too small a file to be worth sharing
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
