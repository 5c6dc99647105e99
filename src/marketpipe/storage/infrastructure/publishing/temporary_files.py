"""The temporary files that are published later: their names tell their process, so that a dead one's can be removed.

The number of a process means nothing in another container that shares the store. So a name has the machine, its start,
the space of process numbers, the process and its start; and who may have staged files below a root of the store holds
a shared lock on that folder, which is seen from every container of the machine. See docs/adr/0026.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.infrastructure.machine.disk import NOT_THERE, Disk, remove
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

SUFFIX: Final = ".tmp"
UNLISTED: Final = (*NOT_THERE, errno.EACCES, errno.EPERM)
_NAME: Final = re.compile(
    r"\..+\.(?P<host>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<space>[0-9a-f]+)-(?P<process>\d+)-(?P<start>\d+)-\d+\.tmp",
    re.ASCII,
)
_FORMER_NAME: Final = re.compile(r"\..+\.([1-9]\d{0,8})-\d+\.tmp", re.ASCII)
"""Of earlier versions: the number of the process is all that it tells."""


def temporary_name(name: str, machine: Machine = HERE) -> str:
    """Return a new temporary name for a file of this process."""
    return f".{name}.{_writer(machine, machine.processes.number())}-{next(machine.numbers)}{SUFFIX}"


def is_temporary(name: str) -> bool:
    """Return whether this library gave the name to a temporary file."""
    return bool(_NAME.fullmatch(name) or _FORMER_NAME.fullmatch(name))


def is_left_behind(name: str, root: Path | None, machine: Machine = HERE) -> bool:
    """Return whether a temporary file is of a process that is known to be gone.

    ``root`` is the root of the store that has the file: None if it is in no store. False for a name of another program,
    and for a file that a living process may still publish, in another container or on another machine.
    """
    if former := _FORMER_NAME.fullmatch(name):
        return machine.processes.start_of(int(former[1])) is None
    if (match := _NAME.fullmatch(name)) is None:
        return False
    host, boot, space = machine.processes.place()
    if match["boot"] != boot:
        return match["host"] == host
    if match["space"] != space:
        return root is not None and _has_no_writer(root, machine.disk)
    return machine.processes.start_of(int(match["process"])) != int(match["start"])


def sweep(folder: Path, root: Path | None, machine: Machine = HERE) -> bool:
    """Remove the temporary files of processes that are gone. Return whether the folder has a file that is published.

    Raises ``OSError``.
    """
    has_files = False
    for name, is_file in _names_in(folder, machine.disk):
        if not (name.startswith(".") and name.endswith(SUFFIX)):
            has_files |= is_file
        elif is_left_behind(name, root, machine):
            remove(machine.disk, folder / name)
    return has_files


def _names_in(folder: Path, disk: Disk) -> list[tuple[str, bool]]:
    """Return each name with whether it is that of a file; none of a folder that is not there or may not be listed."""
    try:
        with disk.scandir(folder) as entries:
            return [(entry.name, entry.is_file(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        if error.errno not in UNLISTED:
            raise
        return []


class WriterLock:
    """Shows that this process may have staged files below the roots of a store, until ``close``."""

    def __init__(self, machine: Machine = HERE) -> None:
        self._held, self._guard = dict[Path, Callable[[], object]](), machine.threads.lock()
        self._disk = machine.disk

    def hold(self, root: Path) -> None:
        """Take the shared lock on an existing root. A file system without locks has none."""
        with self._guard:
            if root not in self._held:
                descriptor = self._disk.open(root, os.O_RDONLY | os.O_DIRECTORY)
                self._held[root] = weakref.finalize(self, _close, self._disk, descriptor)
                _try_lock(self._disk, descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        with self._guard:
            for release in self._held.values():
                release()
            self._held.clear()


def _close(disk: Disk, descriptor: int) -> None:
    with suppress(OSError):  # it is released all the same, and nothing was written by it
        disk.close(descriptor)


def _has_no_writer(root: Path, disk: Disk) -> bool:
    try:
        descriptor = disk.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return _try_lock(disk, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            disk.close(descriptor)
    except OSError:
        return False


def _try_lock(disk: Disk, descriptor: int, kind: int) -> bool:
    try:
        disk.flock(descriptor, kind)
    except OSError:  # held by another, or no locks on this file system
        return False
    return True


@lru_cache(4)
def _writer(machine: Machine, number: int) -> str:
    """Return what the name of a temporary file tells of its process. ``number`` is another one in a forked child."""
    host, boot, space = machine.processes.place()
    return f"{host}-{boot}-{space}-{number}-{machine.processes.start_of(number) or 0}"
