"""The open descriptors of one process on a modelled disk, and how its calls are counted and named in errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from tests.simulation.disk.inodes import Inode, error

if TYPE_CHECKING:
    from tests.simulation.disk.model import ModelledDisk

AnyPath = str | os.PathLike[str]
Buffer = bytes | bytearray | memoryview
FIRST_DESCRIPTOR: Final = 1_000_000
"""So high that a function of ``os`` that is given one by mistake fails."""
WRITES: Final = os.O_WRONLY | os.O_RDWR


class Waiting(Protocol):
    def block(self, until: Callable[[], bool]) -> None: ...


class Caller(Protocol):
    """What the disk needs to know of a process."""

    dead: bool

    @property
    def scheduler(self) -> Waiting: ...

    def call(self, kind: str, target: str = "") -> Any:
        """Let others run first. Raises what the call is to raise; returns a fault that the disk has to carry out."""


class Outside:
    """Someone whose calls are not counted: a person who copies files, or a test."""

    dead = False

    @property
    def scheduler(self) -> Waiting:
        raise RuntimeError("it would wait for ever")

    def call(self, kind: str, target: str = "") -> None:
        """Do nothing."""


class Opened:
    """What a descriptor stands for."""

    __slots__ = ("flags", "inode", "is_first_write", "path", "position")

    def __init__(self, inode: Inode, flags: int, path: str) -> None:
        self.inode, self.flags, self.path, self.position, self.is_first_write = inode, flags, path, 0, True

    @property
    def writes(self) -> bool:
        return bool(self.flags & WRITES)

    @property
    def reads(self) -> bool:
        return not self.flags & os.O_WRONLY


class Descriptors:
    """Those of one process. Each call of it begins with ``Caller.call`` and the call's name."""

    def __init__(self, disk: ModelledDisk, process: Caller) -> None:
        self._disk, self._process = disk, process
        self._opened: dict[int, Opened] = {}
        self._next = FIRST_DESCRIPTOR

    def close_all(self) -> None:
        """Do what the system does for a process that has ended."""
        for opened in self._opened.values():
            self._let_go(opened)
        self._opened.clear()

    @contextmanager
    def _named(self, kind: str, path: AnyPath, other: AnyPath | None = None) -> Iterator[None]:
        """Count a call, and put its paths into its error."""
        self._process.call(kind, text_of(other or path))
        try:
            yield
        except OSError as found:
            raise error(found.errno or 0, text_of(path), other and text_of(other)) from None

    def _of(self, kind: str, fd: int, offset: int = 0) -> tuple[Opened, Any]:
        opened = self._opened.get(fd)
        fault = self._process.call(kind, opened.path if opened else str(fd))
        if offset < 0:
            raise error(errno.EINVAL)
        if opened is None or fd not in self._opened:  # another thread may have closed it meanwhile
            raise error(errno.EBADF)
        return opened, fault

    def _readable(self, kind: str, fd: int, offset: int = 0) -> Opened:
        opened, _ = self._of(kind, fd, offset)
        if not opened.reads:
            raise error(errno.EBADF)
        if opened.inode.entries is not None:
            raise error(errno.EISDIR)
        return opened

    def _writable(self, kind: str, fd: int, offset: int = 0) -> tuple[Opened, Any]:
        opened, fault = self._of(kind, fd, offset)
        if not opened.writes:
            raise error(errno.EBADF)
        self._disk.refuse_if_read_only()
        return opened, fault

    def _start(self, path: AnyPath, dir_fd: int | None) -> Inode | None:
        if dir_fd is None or not text_of(path):
            return None
        if dir_fd not in self._opened:
            raise error(errno.EBADF)
        return self._opened[dir_fd].inode

    def _where(self, path: AnyPath, dir_fd: int | None) -> str:
        return text_of(path) if dir_fd is None else f"{self._opened[dir_fd].path}/{text_of(path)}"

    def _let_go(self, opened: Opened) -> None:
        self._disk.locks.get(opened.inode, {}).pop(opened, None)
        opened.inode.opened -= 1
        self._disk.release(opened.inode)


def text_of(path: AnyPath) -> str:
    return os.fsdecode(path)
