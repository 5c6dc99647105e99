"""Reading files that others may replace meanwhile, with a reader that opens each of them more than once.

DuckDB reads a footer from one opening and columns from another: where a file was replaced in between it fails, or makes
up values. So whoever lets it read looks at the files before and after, and where one of them was replaced reads again.
Files that are only added disturb nobody. Arrow opens a file once, and needs none of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.infrastructure.day_files import looking_into

T = TypeVar("T")
Looks = Mapping[str, tuple[int, int]]
"""Of each file its inode and its modification time, which no two versions share."""
ATTEMPTS: Final = 50


def read_steadily(look: Callable[[], Looks], read: Callable[[], T]) -> T:
    """Raises what ``read`` raises where no file was replaced meanwhile."""
    before = look()
    for _ in range(ATTEMPTS):
        try:
            found = read()
        except StorageError:
            if _are_the_same(before, before := look()):
                raise
        else:
            if _are_the_same(before, before := look()):
                return found
    raise StorageError("the files were replaced again and again while they were read; try again when that has ended")


def looks_at(files: Iterable[Path]) -> Looks:
    """Those that are gone are left out."""
    return dict(_look(str(path), path.stat) for path in files if path.exists())


def looks_below(roots: Iterable[Path]) -> Looks:
    """At every Parquet file. Raises ``StorageError``."""
    return dict(look for root in roots for look in _below(str(root)))


def _below(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    with looking_into(Path(folder)):
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.name.endswith(".parquet"):
                yield _look(entry.path, entry.stat)
            elif entry.is_dir():
                yield from _below(entry.path)


def _look(path: str, stat: Callable[[], os.stat_result]) -> tuple[str, tuple[int, int]]:
    try:
        found = stat()
    except FileNotFoundError:
        return path, (0, 0)
    return path, (found.st_ino, found.st_mtime_ns)


def _are_the_same(before: Looks, after: Looks) -> bool:
    return all(after.get(path) == look for path, look in before.items())
