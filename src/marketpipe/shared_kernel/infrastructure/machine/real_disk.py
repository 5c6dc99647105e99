"""The adapter of the port ``Disk`` for the file system of the system."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, Never

from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath, Disk, Entry, FoundEntry

if TYPE_CHECKING:
    import pyarrow as pa

Scan = AbstractContextManager[Iterator[Entry]]
CURRENT_FOLDER: Final = -100
"""AT_FDCWD of Linux: a relative path begins in the current folder."""
EXCHANGE: Final = 2
"""RENAME_EXCHANGE of Linux, and RENAME_SWAP of macOS."""


def exchange_folders(one: AnyPath, other: AnyPath, library: Any = None) -> None:
    """Exchange two folders: each has the name of the other afterwards. ``library`` is that of C.

    Raises ``OSError``.
    """
    import ctypes  # here: only a compaction needs it

    library = library or ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, EXCHANGE)
        else:
            failed = library.renameat2(CURRENT_FOLDER, names[0], CURRENT_FOLDER, names[1], EXCHANGE)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(other)) from None
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))


def _begin_to_store(descriptor: int) -> None:
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what is on its way stays in the cache


def _has_no_attributes(path: AnyPath, *_: object, **__: object) -> Never:
    """Stand in for the functions of extended attributes, which macOS has not in Python."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), os.fspath(path))


@cache
def _finder() -> Callable[[str], list[FoundEntry]]:
    from pyarrow import fs  # here, as below

    local, described = fs.LocalFileSystem(), attrgetter("base_name", "size", "mtime_ns")
    return lambda folder: [*map(described, local.get_file_info(fs.FileSelector(folder, allow_not_found=True)))]


def _files_in(folder: str) -> list[FoundEntry]:
    """Let Arrow examine them: it needs no lock of the interpreter, and makes no object for each time, as ``stat``."""
    return _finder()(folder)


def _opened(path: str) -> pa.NativeFile:
    import pyarrow as pa  # here, because few commands read bars, and it takes as long as all of --help

    return pa.OSFile(path)


def _mapped(path: str) -> pa.Buffer:
    import pyarrow as pa  # here, as above

    return pa.memory_map(path).read_buffer()


class RealDisk:
    """The file system. Its methods are the functions of ``os`` themselves: a call through the port costs no more."""

    __slots__ = ()
    open = staticmethod(os.open)
    close = staticmethod(os.close)
    read = staticmethod(os.read)
    pread = staticmethod(os.pread)
    write = staticmethod(os.write)
    pwrite = staticmethod(os.pwrite)
    fsync = staticmethod(os.fsync)
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    lstat = staticmethod(os.lstat)
    listdir: ClassVar[Any] = staticmethod(os.listdir)
    scandir: ClassVar[staticmethod[[AnyPath | int], Scan]] = staticmethod(os.scandir)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    unlink = staticmethod(os.unlink)
    replace = staticmethod(os.replace)
    link = staticmethod(os.link)
    utime = staticmethod(os.utime)
    chmod = staticmethod(os.chmod)
    chown = staticmethod(os.chown)
    getxattr: ClassVar[Any] = staticmethod(getattr(os, "getxattr", _has_no_attributes))
    setxattr: ClassVar[Any] = staticmethod(getattr(os, "setxattr", _has_no_attributes))
    removexattr: ClassVar[Any] = staticmethod(getattr(os, "removexattr", _has_no_attributes))
    flock = staticmethod(fcntl.flock)
    exchange = staticmethod(exchange_folders)
    begin_to_store = staticmethod(_begin_to_store)
    files_in = staticmethod(_files_in)
    opened = staticmethod(_opened)
    mapped = staticmethod(_mapped)


REAL_DISK: Final[Disk] = RealDisk()
