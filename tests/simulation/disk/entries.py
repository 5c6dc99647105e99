"""What listing a folder gives: entries, as those of ``os.scandir``, of the moment at which it was listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from tests.simulation.disk.inodes import Inode


class Entry:
    """One entry. ``status`` returns that of a path, following a last link or not. Raises ``OSError``."""

    __slots__ = ("_inode", "_status", "name", "path")

    def __init__(self, name: str, path: str, inode: Inode, status: Callable[[str, bool], os.stat_result]) -> None:
        self.name, self.path, self._inode, self._status = name, path, inode, status

    def __fspath__(self) -> str:
        return self.path

    def inode(self) -> int:
        return self._inode.number

    def is_symlink(self) -> bool:
        return self._inode.is_link

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISDIR(self._mode(follow_symlinks))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISREG(self._mode(follow_symlinks))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self._status(self.path, follow_symlinks)

    def _mode(self, follow: bool) -> int:
        """Return its mode without a call, unless a link has to be followed; 0 if that leads nowhere."""
        if not (follow and self._inode.is_link):
            return self._inode.mode
        try:
            return self.stat().st_mode
        except FileNotFoundError:
            return 0


class Listing:
    """The entries that are left, as ``os.scandir`` returns them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._left: Iterator[Entry] = iter(entries)

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        return next(self._left)

    def __enter__(self) -> Iterator[Entry]:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._left = iter(())
