"""Access to the day files of a month, whether they are in its folder or in its month file.

A compaction exchanges the folder of a month for another one, in one step. So what was not found counts only if the
folder that was searched is still in its place afterwards. Readers take no lock.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, StorageError
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.integrity import NO_FILE, repaired_by
from marketpipe.storage.infrastructure.compacted.month_file import (
    MONTH_FILE,
    DayPart,
    MonthFileDamaged,
    StoredDayFile,
    parts_of,
)

DAMAGES: Final = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENXIO})
"""Errors that are of one file: missing permission, a broken disk, a link to itself, a socket."""
DAY_NAME: Final = re.compile(r"day=\d\d\.parquet", re.ASCII)
ATTEMPTS: Final = 50
T = TypeVar("T")


def in_folder(
    folder: str,
    read: Callable[[int], T],
    *,
    counts: Callable[[T], bool] = lambda _: False,
    disk: Disk = REAL_DISK,
) -> T | None:
    """Return what ``read`` returns, given the descriptor of a folder; None if there is no such folder, or a link.

    It is called again if the folder has left its place meanwhile, unless what it returned ``counts`` all the same.
    Raises ``OSError``, and ``StorageError`` if the folder never stays.
    """
    for _ in range(ATTEMPTS):
        try:
            descriptor = disk.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):  # a link is no directory
            return None
        try:
            found = read(descriptor)
            if counts(found) or _is_in_place(folder, descriptor, disk):
                return found
        finally:
            disk.close(descriptor)
    raise StorageError(f"{folder} was replaced again and again while it was read; try again")


def read_day(path: str, disk: Disk = REAL_DISK) -> StoredDayFile | None:
    """Return a day file, of one moment; None if there is none, and for a path that is not one of a day file.

    Raises ``OSError``, and ``MonthUnreadableError``.
    """
    folder, _, name = path.rpartition(os.sep)
    if not DAY_NAME.fullmatch(name):
        return None
    return in_folder(folder, lambda at: _read_in(at, folder, name, disk), counts=_is_found, disk=disk)


class DayStatus(NamedTuple):
    """What tells two versions of a day file apart without reading them. ``inode`` is that of the file that has it."""

    size: int
    modified_ns: int
    inode: int


def day_status(path: str, disk: Disk = REAL_DISK) -> DayStatus | None:
    """Return the status of a day file. Otherwise as ``read_day``."""
    folder, _, name = path.rpartition(os.sep)
    return in_folder(folder, lambda at: _status_in(at, folder, name, disk), counts=_is_found, disk=disk)


def listed(folder: str, disk: Disk = REAL_DISK) -> list[str]:
    """Return the names in a folder of a month, of one moment, in no order; none if there is none, or a link.

    Raises ``OSError``.
    """
    return in_folder(folder, disk.listdir, disk=disk) or []


def parts_in(descriptor: int, folder: str, disk: Disk = REAL_DISK) -> dict[str, DayPart]:
    """Return the days of the month file in an open folder; none if it has none.

    ``folder`` is its path. Raises ``OSError``, and ``MonthUnreadableError``.
    """
    return _of_month(descriptor, folder, lambda _, parts: parts, disk) or {}


def month_problem(folder: str, disk: Disk = REAL_DISK) -> str | None:
    """Return what is wrong with the month file of a folder, if its days are not known, as the end of a sentence that
    begins with its path; None if they are, and if there is no such file. Raises ``OSError``, and ``StorageError``.
    """
    try:
        in_folder(folder, lambda descriptor: parts_in(descriptor, folder, disk), disk=disk)
    except MonthUnreadableError as error:
        return error.problem
    return None


def month_unreadable(path: str, problem: str, advice: str | None = None) -> MonthUnreadableError:
    """Return the error of a month file. ``problem`` is the end of a sentence that begins with its path.

    Without ``advice`` it has that for a store whose dataset is not known; see ``advising``.
    """
    error = MonthUnreadableError(f"{path} {problem}. {advice or repaired_by(None)}")
    error.path, error.problem = path, problem
    return error


def _is_found(found: object) -> bool:
    return found is not None


def _read_in(descriptor: int, folder: str, name: str, disk: Disk) -> StoredDayFile | None:
    try:
        opened = _opened(name, descriptor, disk)
    except FileNotFoundError:
        return _of_month(descriptor, folder, lambda at, parts: _read_part(at, name, parts.get(name), disk), disk)
    try:
        found = disk.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, NO_FILE, f"{folder}{os.sep}{name}")
        return StoredDayFile(name, _bytes_at(opened, 0, found.st_size, disk), found.st_mtime_ns)
    finally:
        disk.close(opened)


def _read_part(opened: int, name: str, part: DayPart | None, disk: Disk) -> StoredDayFile | None:
    return part and StoredDayFile(name, _bytes_at(opened, part.offset, part.size, disk), part.modified_ns)


def _status_in(descriptor: int, folder: str, name: str, disk: Disk) -> DayStatus | None:
    try:
        found = disk.stat(name, dir_fd=descriptor)
    except FileNotFoundError:
        return _of_month(descriptor, folder, lambda at, parts: _status_of_part(at, parts.get(name), disk), disk)
    return DayStatus(found.st_size, found.st_mtime_ns, found.st_ino)


def _status_of_part(opened: int, part: DayPart | None, disk: Disk) -> DayStatus | None:
    return part and DayStatus(part.size, part.modified_ns, disk.fstat(opened).st_ino)


def _of_month(descriptor: int, folder: str, read: Callable[[int, dict[str, DayPart]], T], disk: Disk) -> T | None:
    """Return what ``read`` returns, given the opened month file of a folder and its days; None if it has no such file.

    By one descriptor: the folder may be exchanged, and emptied, at any moment.
    """
    path = f"{folder}{os.sep}{MONTH_FILE}"
    try:
        opened = _opened(MONTH_FILE, descriptor, disk)
    except FileNotFoundError:
        if _is_link(MONTH_FILE, descriptor, disk):
            raise month_unreadable(path, "is a link that leads nowhere") from None
        return None
    except OSError as error:
        raise _of_one_file(path, error) from error
    try:
        return read(opened, _parts_of(opened, path, disk))
    finally:
        disk.close(opened)


def _parts_of(opened: int, path: str, disk: Disk) -> dict[str, DayPart]:
    if not stat.S_ISREG(disk.fstat(opened).st_mode):
        raise month_unreadable(path, "is not a file")
    try:
        return parts_of(opened, disk)
    except MonthFileDamaged as error:
        raise month_unreadable(path, f"is damaged: {error}") from error
    except OSError as error:
        raise _of_one_file(path, error) from error


def _of_one_file(path: str, error: OSError) -> OSError | MonthUnreadableError:
    """An error that may be of the whole system, such as too many open files, stays as it is."""
    if error.errno not in DAMAGES:
        return error
    remedy = " (nothing is lost if you allow it)" if isinstance(error, PermissionError) else ""
    return month_unreadable(path, f"cannot be read: {error.strerror}{remedy}")


def _is_link(name: str, descriptor: int, disk: Disk) -> bool:
    try:
        return stat.S_ISLNK(disk.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _opened(name: str, descriptor: int, disk: Disk) -> int:
    """A pipe would be waited for for ever."""
    return disk.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=descriptor)


def _bytes_at(opened: int, offset: int, size: int, disk: Disk) -> bytes:
    found = disk.pread(opened, size, offset)
    while len(found) < size and (more := disk.pread(opened, size - len(found), offset + len(found))):
        found += more
    return found


def _is_in_place(folder: str, descriptor: int, disk: Disk) -> bool:
    try:
        found, opened = disk.lstat(folder), disk.fstat(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return found.st_ino == opened.st_ino and found.st_dev == opened.st_dev
