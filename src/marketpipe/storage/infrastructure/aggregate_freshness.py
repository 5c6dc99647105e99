from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.storage.domain.storage_metadata import sources_in
from marketpipe.storage.infrastructure.parquet_reader import read_bars, read_metadata
from marketpipe.storage.infrastructure.parquet_writer import sha256

SECOND = 1_000_000_000
Sources = dict[str, str]
"""For each month ("2024-01") the digest of its day files."""
FileLook = tuple[str, int, int]
"""What a file looks like from outside: month and day, bytes, modification time in nanoseconds."""


def source_digest(day_files: Sequence[Path]) -> str:
    """Of the day files of one month: their names and their bytes. Raises ``PartitionUnreadableError``."""
    digest = hashlib.sha256()
    for path in day_files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PartitionUnreadableError(f"{path} cannot be read: {error.strerror}; move it away") from error
        digest.update(f"{path.name} {sha256(content)}\n".encode())
    return digest.hexdigest()


def looks_of(day_files: Iterable[Path]) -> list[FileLook]:
    seen = ((path, path.stat()) for path in day_files)
    return [(f"{path.parent.name}/{path.name}", found.st_size, found.st_mtime_ns) for path, found in seen]


def stamp_of(looks: Iterable[FileLook]) -> int:
    """A modification time, in nanoseconds, that no other state of these files has.

    Its seconds are those of the newest file; below the second it is a digest of their names, sizes and times.
    """
    digest, newest = hashlib.sha256(), 0
    for name, size, modified_ns in looks:
        newest = max(newest, modified_ns)
        digest.update(f"{name} {size} {modified_ns}\n".encode())
    return newest // SECOND * SECOND + int.from_bytes(digest.digest()[:8], "big") % SECOND


def looks_fresh(aggregate: Path, stamp: int) -> bool:
    """The quick look: an aggregate bears the stamp that its minutes had when it was made."""
    return aggregate.exists() and aggregate.stat().st_mtime_ns == stamp


def recorded_sources(aggregate: Path) -> Sources:
    """What the file was made from; nothing for a missing or damaged one, which is then made anew."""
    if not aggregate.exists():
        return {}
    try:
        read_bars(aggregate)  # a file may be damaged behind an intact footer
        return sources_in(read_metadata(aggregate))
    except PartitionUnreadableError:
        return {}
