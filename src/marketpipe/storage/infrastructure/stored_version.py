from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.storage_metadata import StorageMetadata, identity_in, label_in
from marketpipe.storage.infrastructure.parquet_reader import checked_bars, file_in
from marketpipe.storage.infrastructure.parquet_writer import FILE_SCHEMA, versioned

BEGINNING = Timestamp.from_epoch_micros(0)


@frozen
class StoredVersion:
    """A day file as it was found. ``bars`` has the columns of a file.

    It is empty, and ``damage`` says why, where the file is not what belongs there.
    """

    known_since: Timestamp
    content: bytes = field(repr=False)
    bars: pa.Table = field(factory=FILE_SCHEMA.empty_table, repr=False)
    damage: str | None = None


def found_at(path: Path, belongs: Callable[[], StorageMetadata]) -> StoredVersion | None:
    """None where there is no file. One that says of itself something else than what ``belongs`` there is damaged."""
    try:
        with path.open("rb") as file:  # opened once, or time and bytes could be those of two versions
            known_since, content = moment_of(os.fstat(file.fileno())), file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return StoredVersion(BEGINNING, b"", damage=f"{path} cannot be read: {error.strerror}")
    try:
        bars = _belonging(content, path, belongs()).select(BAR_SCHEMA.names)
        return StoredVersion(known_since, content, versioned(bars))
    except PartitionUnreadableError as error:
        return StoredVersion(known_since, content, damage=str(error))


def _belonging(content: bytes, path: Path, belongs: StorageMetadata) -> pa.Table:
    rows, metadata = file_in(content, str(path), columns=True)
    bars, said, expected = checked_bars(rows, path), _word(metadata), _word(belongs.as_mapping())
    if said != expected:
        raise PartitionUnreadableError(f"{path} says that it is {said}, and lies where {expected} belongs")
    return bars


def _word(metadata: Mapping[str, str]) -> str:
    return f"{label_in(metadata)} of {identity_in(metadata)}"


def moment_of(found: os.stat_result) -> Timestamp:
    """Since when the store knows what is in a file: its modification time, to the microsecond."""
    return moment_at(found.st_mtime_ns)


def moment_at(modified_ns: int) -> Timestamp:
    return Timestamp.from_epoch_micros(modified_ns // 1000)
