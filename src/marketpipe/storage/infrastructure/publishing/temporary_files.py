"""The temporary files that are published later: their names tell their process, so that a dead one's can be removed.

The number of a process means nothing in another container that shares the store. So a name has the machine, its start,
the space of process numbers, the process and its start; and who may have staged files below a root of the store holds
a shared lock on that folder, which is seen from every container of the machine. See docs/adr/0026.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Final

NUMBERS: Final = count(1)
SUFFIX: Final = ".tmp"
_NAME: Final = re.compile(
    r"\..+\.(?P<host>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<space>[0-9a-f]+)-(?P<process>\d+)-(?P<start>\d+)-\d+\.tmp",
    re.ASCII,
)
_FORMER_NAME: Final = re.compile(r"\..+\.([1-9]\d{0,8})-\d+\.tmp", re.ASCII)
"""Of earlier versions: the number of the process is all that it tells."""
START_TIME: Final = 19
"""Of the fields of /proc/PID/stat behind the name of the program."""


def temporary_name(name: str) -> str:
    """Return a new temporary name for a file of this process."""
    return f".{name}.{_writer(os.getpid())}-{next(NUMBERS)}{SUFFIX}"


def is_temporary(name: str) -> bool:
    """Return whether this library gave the name to a temporary file."""
    return bool(_NAME.fullmatch(name) or _FORMER_NAME.fullmatch(name))


def is_left_behind(name: str, root: Path | None) -> bool:
    """Return whether a temporary file is of a process that is known to be gone.

    ``root`` is the root of the store that has the file: None if it is in no store. False for a name of another program,
    and for a file that a living process may still publish, in another container or on another machine.
    """
    if former := _FORMER_NAME.fullmatch(name):
        return not _is_alive(int(former[1]))
    if (match := _NAME.fullmatch(name)) is None:
        return False
    if match["boot"] != _boot():
        return match["host"] == _host()
    if match["space"] != _space():
        return root is not None and _has_no_writer(root)
    return _start_of(int(match["process"])) != int(match["start"])


def sweep(folder: Path, root: Path | None) -> None:
    """Remove the temporary files of processes that are gone. Raises ``OSError``."""
    for leftover in folder.glob(f".*{SUFFIX}"):
        if is_left_behind(leftover.name, root):
            leftover.unlink(missing_ok=True)


class WriterLock:
    """Shows that this process may have staged files below the roots of a store, until ``close``."""

    def __init__(self) -> None:
        self._held, self._guard = dict[Path, Callable[[], object]](), threading.Lock()

    def hold(self, root: Path) -> None:
        """Take the shared lock on an existing root. A file system without locks has none."""
        with self._guard:
            if root not in self._held:
                descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
                self._held[root] = weakref.finalize(self, os.close, descriptor)
                _try_lock(descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        with self._guard:
            for release in self._held.values():
                release()
            self._held.clear()


def _has_no_writer(root: Path) -> bool:
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return _try_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind)
    except OSError:  # held by another, or no locks on this file system
        return False
    return True


@lru_cache(4)
def _writer(process: int) -> str:
    return f"{_host()}-{_boot()}-{_space()}-{process}-{_start_of(process) or 0}"


def _host() -> str:
    return _short(os.uname().nodename)


@lru_cache(1)
def _boot() -> str:
    """Return the mark of the machine's last start; the same in all its containers. Empty systems have none."""
    try:
        return _short(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
    except OSError:
        return _short("")


def _space() -> str:
    """Return the mark of the space of process numbers that this process is in."""
    try:
        return f"{os.stat('/proc/self/ns/pid').st_ino:x}"
    except OSError:
        return "0"


def _start_of(process: int) -> int | None:
    """Return when a process started, in ticks; 0 if the system does not tell; None if there is no such process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return int(fields[START_TIME])
    except (OSError, LookupError, ValueError):
        return 0 if _is_alive(process) else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as another user
        pass
    return True


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
