"""Reading files that another process may replace: again, until none was replaced in the meantime."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.domain.integrity import MOVE_AWAY
from marketpipe.storage.infrastructure.compacted.day_access import in_folder, month_unreadable
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.store_layout import (
    NOT_FOLLOWED,
    refuse_links,
    translating,
)

T = TypeVar("T")
ATTEMPTS: Final = 50
Fingerprints = Mapping[str, tuple[int, int]]
"""The inode and the modification time of each file. No two versions of a file share them."""


def read_consistently(fingerprints: Callable[[], Fingerprints], read: Callable[[], T]) -> T:
    """Return what ``read`` returns, or raise what it raises, of a moment in which no file was replaced.

    DuckDB takes a footer from one opening of a file and columns from another: if the file is replaced in between, it
    fails or makes up values. So files are compared before and after, and read again if one was replaced. Files that
    are only added do no harm, but for a day of which both forms are read: a day file beside a month file, and a month
    file. Arrow opens a file once, and needs none of this.
    """
    before = fingerprints()
    for _ in range(ATTEMPTS):
        try:
            found = read()
        except StorageError:
            if _are_unchanged(before, before := fingerprints()):
                raise
        else:
            if _are_unchanged(before, before := fingerprints()):
                return found
    raise StorageError("files were replaced again and again while they were read; try again when fewer are written")


def fingerprints_below(roots: Collection[Path]) -> Fingerprints:
    """Return the fingerprint of every Parquet file below the roots. Raises ``StorageError``."""
    for root in roots:
        for folder in (root.parent, root):
            if folder.name.startswith(("timeframe=", "symbol=")):
                refuse_links(folder.parent, folder.name)
    return dict(found for root in roots for found in _below(str(root)))


def _below(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    with translating(folder):
        if folder.rpartition(os.sep)[2].startswith("month="):  # it may be exchanged while it is listed
            yield from in_folder(folder, lambda descriptor: _found_in(folder, os.scandir(descriptor))) or ()
            return
        try:
            yield from _found_in(folder, os.scandir(folder))
        except FileNotFoundError:
            return


def _found_in(folder: str, entries: Iterable[os.DirEntry[str]]) -> list[tuple[str, tuple[int, int]]]:
    found = list[tuple[str, tuple[int, int]]]()
    for entry in list(entries):
        path = f"{folder}{os.sep}{entry.name}"
        if entry.name.endswith(".parquet"):
            found.append((path, _fingerprint(entry, path)))
        elif entry.is_dir():
            if entry.is_symlink():
                if "=" not in entry.name:  # no folder of a store: no query reads it
                    continue
                raise StorageError(f"{path} is a link, which is not followed: {NOT_FOLLOWED}")
            found += _below(path)
    return found


def _fingerprint(entry: os.DirEntry[str], path: str) -> tuple[int, int]:
    try:
        found = entry.stat()
    except FileNotFoundError:  # removed since it was listed
        return 0, 0
    if not stat.S_ISREG(found.st_mode):  # DuckDB would wait for a pipe for ever
        if entry.name == MONTH_FILE:
            raise month_unreadable(path, "is not a file")
        raise StorageError(f"{path} is not a file; {MOVE_AWAY}")
    return found.st_ino, found.st_mtime_ns


def _are_unchanged(before: Fingerprints, after: Fingerprints) -> bool:
    if not all(after.get(path) == fingerprint for path, fingerprint in before.items()):
        return False
    return len(after) == len(before) or not any(_may_double(path, before) for path in after.keys() - before.keys())


def _may_double(added: str, before: Fingerprints) -> bool:
    """Return whether an added file may have a day that another file has too."""
    folder, _, name = added.rpartition(os.sep)
    return name == MONTH_FILE or f"{folder}{os.sep}{MONTH_FILE}" in before
