"""Days that are a file and in the month file too, with other bytes: as after copying a compacted store over an older
tree. Nothing tells which of the two is the later version, so nothing may remove one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from marketpipe.storage.infrastructure.compacted.day_access import in_folder
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, days_in

ADVICE: Final = f"has other bytes than its day in {MONTH_FILE}: move away the one that is older, and run this again"


def differing_days(folder: Path) -> list[str]:
    """Return the names of the day files in a folder that differ from the same day in its month file, ascending.

    Raises ``OSError``, and ``MonthFileDamaged``.
    """
    return in_folder(str(folder), _differing_in) or []


def _differing_in(descriptor: int) -> list[str]:
    names = {*os.listdir(descriptor)}
    if MONTH_FILE not in names or len(names) == 1:
        return []
    days = {day.name: day.content for day in days_in(_content(MONTH_FILE, descriptor))}
    return sorted(name for name in names & days.keys() if _content(name, descriptor) != days[name])


def _content(name: str, folder: int) -> bytes:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read()
