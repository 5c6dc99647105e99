"""Days that are a file and in the month file too: as after copying a store over another form of it.

Readers take the file, as they do without a month file. Other programs read both.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

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


def days_twice(folder: Path) -> dict[str, tuple[str, str]]:
    """Return the names of the day files in a folder whose days its month file has too, ascending, with the SHA-256 of
    the file and that of its day in the month file.

    Raises ``OSError``, and ``MonthFileDamaged``.
    """
    return in_folder(str(folder), _twice_in) or {}


def _twice_in(descriptor: int) -> dict[str, tuple[str, str]]:
    names = {*os.listdir(descriptor)}
    if MONTH_FILE not in names or len(names) == 1:
        return {}
    days = {day.name: day.content for day in days_in(_content(MONTH_FILE, descriptor))}
    return {name: (_digest(_content(name, descriptor)), _digest(days[name])) for name in sorted(names & days.keys())}


def _content(name: str, folder: int) -> bytes:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
