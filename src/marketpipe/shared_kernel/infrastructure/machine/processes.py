"""``Processes``: the port to what the system tells of processes, and its adapter for the real system."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

START_TIME: Final = 19
"""Of the fields of /proc/PID/stat behind the name of the program."""
MOUNTS: Final = Path("/proc/self/mountinfo")
"""Linux. Elsewhere there is no such file, and nothing is known of file systems."""
ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Processes(Protocol):
    """What is known of this process and of others."""

    def number(self) -> int:
        """Return the number of this process."""

    def place(self) -> tuple[str, str, str]:
        """Return the marks of the machine, of its last start, and of the space of process numbers."""

    def start_of(self, number: int, /) -> int | None:
        """Return when a process started, in ticks; 0 if the system does not tell; None if there is no such process."""

    def file_system_of(self, path: Path, /) -> str | None:
        """Return the type of a file system, such as "ext4" or "nfs4"; None if it cannot be found out.

        A path that does not exist yet is where its nearest existing folder is.
        """


class RealProcesses:
    """The processes of the system."""

    __slots__ = ()
    number = staticmethod(os.getpid)

    def place(self) -> tuple[str, str, str]:
        return _short(os.uname().nodename), _boot(), _space()

    def start_of(self, number: int, /) -> int | None:
        try:
            fields = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            return int(fields[START_TIME])
        except (OSError, LookupError, ValueError):
            return 0 if _is_alive(number) else None

    def file_system_of(self, path: Path, /) -> str | None:
        return file_system_in(MOUNTS, path)


REAL_PROCESSES: Final[Processes] = RealProcesses()


def file_system_in(mounts: Path, path: Path) -> str | None:
    """Return the type of a file system by a list of mounts, as Linux gives it."""
    try:
        lines = mounts.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, longest, found = f"{os.path.realpath(path)}/", "", None
    for line in lines:
        fields, _, types = line.partition(" - ")
        point = ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4]) if types else ""
        # Of two mounts on one point the later one hides the former.
        if point and place.startswith(f"{point.rstrip('/')}/") and len(point) >= len(longest):
            longest, found = point, types.split(" ")[0]
    return found


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
