"""Days that are a file and in the month file too: as after copying a store over another form of it.

Readers take the file, as they do without a month file. Other programs read both.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, read_all
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.compacted.day_access import in_folder
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, days_in

EQUAL: Final = f"is in {MONTH_FILE} too: other programs read its bars twice. Remove it, or run 'marketpipe compact'"
DIFFERS: Final = (
    f"has other bytes than its day in {MONTH_FILE}, and is read. 'marketpipe ingest' or 'marketpipe compact' keeps "
    "the one that was recorded, and puts the other into the quarantine"
)
NEITHER_RECORDED: Final = (
    f"has other bytes than its day in {MONTH_FILE}, and neither was recorded: move away the one that is older, and run "
    "this again"
)


def days_twice(folder: Path, disk: Disk = REAL_DISK) -> dict[str, tuple[str, str]]:
    """Return the names of the day files in a folder whose days its month file has too, ascending, with the SHA-256 of
    the file and that of its day in the month file.

    Raises ``OSError``, and ``MonthFileDamaged``.
    """
    return in_folder(str(folder), partial(_twice_in, disk), disk=disk) or {}


def _twice_in(disk: Disk, descriptor: int) -> dict[str, tuple[str, str]]:
    names = {*disk.listdir(descriptor)}
    if MONTH_FILE not in names or len(names) == 1:
        return {}
    days = {day.name: day.content for day in days_in(_content(MONTH_FILE, descriptor, disk))}
    both = sorted(names & days.keys())
    return {name: (_digest(_content(name, descriptor, disk)), _digest(days[name])) for name in both}


def _content(name: str, folder: int, disk: Disk) -> bytes:
    try:
        descriptor = disk.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return b""
    try:
        return read_all(disk, descriptor)
    finally:
        disk.close(descriptor)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
