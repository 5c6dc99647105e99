"""``Disk``: the port to the file system, shaped like ``os``, and functions over it."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

AnyPath = str | os.PathLike[str]
Buffer = bytes | bytearray | memoryview
FoundEntry = tuple[str, Any, Any]
"""The name, the size and the modification time of what is in a folder; the size is None of what is no file."""
NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP})
"""The errors of a path that leads nowhere. Of any other error nothing can be concluded."""
WILD: Final = re.compile(r"[*?[]")


class Entry(Protocol):
    """An entry of a folder, as ``os.scandir`` gives it."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def is_dir(self, *, follow_symlinks: bool = True) -> bool: ...
    def is_file(self, *, follow_symlinks: bool = True) -> bool: ...
    def is_symlink(self) -> bool: ...
    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result: ...
    def inode(self) -> int: ...


class Disk(Protocol):
    """The file system. Each method is as the function of ``os`` with its name, and raises ``OSError``."""

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int: ...
    def close(self, fd: int, /) -> None: ...
    def read(self, fd: int, length: int, /) -> bytes: ...
    def pread(self, fd: int, length: int, offset: int, /) -> bytes: ...
    def write(self, fd: int, data: Buffer, /) -> int: ...
    def pwrite(self, fd: int, data: Buffer, offset: int, /) -> int: ...
    def fsync(self, fd: int, /) -> None: ...
    def fstat(self, fd: int, /) -> os.stat_result: ...
    def stat(
        self, path: AnyPath | int, /, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result: ...
    def lstat(self, path: AnyPath, /, *, dir_fd: int | None = None) -> os.stat_result: ...
    def listdir(self, path: AnyPath | int, /) -> list[str]: ...
    def scandir(self, path: AnyPath | int, /) -> AbstractContextManager[Iterator[Entry]]: ...
    def mkdir(self, path: AnyPath, /, mode: int = 0o777) -> None: ...
    def rmdir(self, path: AnyPath, /) -> None: ...
    def unlink(self, path: AnyPath, /) -> None: ...
    def replace(self, source: AnyPath, target: AnyPath, /) -> None: ...
    def link(self, source: AnyPath, target: AnyPath, /) -> None: ...
    def utime(self, path: AnyPath | int, /, *, ns: tuple[int, int]) -> None: ...
    def chmod(self, path: AnyPath | int, /, mode: int) -> None: ...
    def chown(self, path: AnyPath | int, /, uid: int, gid: int, *, follow_symlinks: bool = True) -> None: ...
    def getxattr(self, path: AnyPath, name: str, /, *, follow_symlinks: bool = True) -> bytes: ...
    def setxattr(self, path: AnyPath, name: str, value: bytes, /, *, follow_symlinks: bool = True) -> None: ...
    def removexattr(self, path: AnyPath, name: str, /, *, follow_symlinks: bool = True) -> None: ...

    def flock(self, fd: int, operation: int, /) -> None:
        """As ``fcntl.flock``."""

    def exchange(self, one: AnyPath, other: AnyPath, /) -> None:
        """Exchange two folders in one step: each has the name of the other afterwards."""

    def begin_to_store(self, fd: int, /) -> None:
        """Ask the system to write the pages of a file now, without waiting for it. Nothing is durable by this."""

    def files_in(self, folder: str, /) -> list[FoundEntry]:
        """Return what is in a folder, in no order; links are followed. For folders of many files."""

    def opened(self, path: str, /) -> pa.NativeFile:
        """Open a whole file for Arrow."""

    def mapped(self, path: str, /) -> pa.Buffer:
        """Return the content of a file, mapped into memory where the system can."""


def exists(disk: Disk, path: AnyPath) -> bool:
    """Return whether a path leads to something. A dangling link does not. Raises ``OSError`` if it cannot be told."""
    return _mode_by(disk.stat, path) != 0


def lexists(disk: Disk, path: AnyPath) -> bool:
    """Return whether a name is there, also that of a dangling link. Raises ``OSError`` if it cannot be told."""
    return _mode_by(disk.lstat, path) != 0


def is_folder(disk: Disk, path: AnyPath) -> bool:
    """Return whether a path leads to a folder. Raises ``OSError`` if it cannot be told."""
    return stat.S_ISDIR(_mode_by(disk.stat, path))


def is_file(disk: Disk, path: AnyPath) -> bool:
    """Return whether a path leads to a regular file. Raises ``OSError`` if it cannot be told."""
    return stat.S_ISREG(_mode_by(disk.stat, path))


def is_link(disk: Disk, path: AnyPath) -> bool:
    """Return whether a name is that of a symbolic link. Raises ``OSError`` if it cannot be told."""
    return stat.S_ISLNK(_mode_by(disk.lstat, path))


def read_bytes(disk: Disk, path: AnyPath) -> bytes:
    """Return the content of a file. Raises ``OSError`` that names it, also for a pipe, which would be waited for."""
    descriptor = disk.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mode = disk.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder refuses to be read
            raise OSError(errno.EINVAL, "it is not a file")
        return read_all(disk, descriptor)
    except OSError as error:
        error.filename = os.fspath(path)  # an error of a descriptor names no file
        raise
    finally:
        disk.close(descriptor)


def read_all(disk: Disk, descriptor: int) -> bytes:
    """Return what an open file has from its position on. Raises ``OSError``."""
    size = disk.fstat(descriptor).st_size
    content = disk.read(descriptor, size + 1)
    if len(content) == size:  # one read is enough, unless the file is not what its size says
        return content
    parts = [content]
    while content:
        content = disk.read(descriptor, max(size, 1 << 16))
        parts.append(content)
    return b"".join(parts)


def read_text(disk: Disk, path: AnyPath, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the content of a text file. Ends of lines stay as they are. Raises ``OSError`` that names it."""
    return read_bytes(disk, path).decode(encoding, errors)


def make_folders(disk: Disk, folder: AnyPath) -> None:
    """Make a folder and those above it, as far as they are missing. Raises ``OSError``."""
    try:
        disk.mkdir(folder)
    except FileNotFoundError:
        above = os.path.dirname(folder)
        if above in ("", os.fspath(folder)):
            raise
        make_folders(disk, above)
        make_folders(disk, folder)
    except OSError:
        if not is_folder(disk, folder):
            raise


def remove(disk: Disk, path: AnyPath) -> None:
    """Remove a file if it exists. Raises ``OSError``."""
    with suppress(FileNotFoundError):
        disk.unlink(path)


def remove_tree(disk: Disk, folder: AnyPath) -> None:
    """Remove a folder with all that it has, as far as that is possible. No link is followed, nothing is raised."""
    with suppress(OSError):
        with disk.scandir(folder) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for path, is_below in found:
            if is_below:
                remove_tree(disk, path)
            else:
                with suppress(OSError):
                    disk.unlink(path)
        disk.rmdir(folder)


def walk(
    disk: Disk, folder: AnyPath, on_error: Callable[[OSError], object] = lambda _: None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder with the names of its folders and of all else, from the top. No link is followed.

    ``on_error`` is called for a folder that cannot be listed, and which is left out. What is removed from the names of
    folders is not walked.
    """
    top, folders, files, links = os.fspath(folder), list[str](), list[str](), set[str]()
    try:
        with disk.scandir(top) as entries:
            for entry in entries:
                (folders if _leads_to_a_folder(entry) else files).append(entry.name)
                if entry.is_symlink():
                    links.add(entry.name)
    except OSError as error:
        on_error(error)
        return
    yield top, folders, files
    for name in folders:
        if name not in links:
            yield from walk(disk, os.path.join(top, name), on_error)


def _leads_to_a_folder(entry: Entry) -> bool:
    """Return False also if it cannot be told, as of a link to itself: what lies beside it is listed all the same."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def matching(disk: Disk, folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what is at the pattern below the folder, as ``Path.glob``; not for a pattern with ``**``."""
    first, _, rest = pattern.partition("/")
    for path in _matches(disk, folder, first, is_folder=bool(rest)):
        if rest:
            yield from matching(disk, path, rest)
        else:
            yield path


def _matches(disk: Disk, folder: Path, pattern: str, *, is_folder: bool) -> list[Path]:
    if WILD.search(pattern) is None:
        return [folder / pattern] if exists(disk, folder / pattern) else []
    matches = _matcher(pattern)
    try:
        with disk.scandir(folder) as entries:
            named = [entry for entry in entries if matches(entry.name)]
            return [folder / entry.name for entry in named if not is_folder or _leads_to_a_folder(entry)]
    except OSError as error:
        if error.errno not in (*NOT_THERE, errno.EACCES, errno.EPERM):
            raise
        return []


@lru_cache(64)
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(pattern)).match


def _mode_by(status: Callable[[AnyPath], os.stat_result], path: AnyPath) -> int:
    """Return 0 if the path leads nowhere."""
    try:
        return status(path).st_mode
    except ValueError:  # a name that no system has, with a zero byte
        return 0
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise
        return 0
