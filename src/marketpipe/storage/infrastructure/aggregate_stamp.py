"""The modification time of an aggregate, which tells from which state of its day files it was made. See ADR 0006."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

SECOND: Final = 1_000_000_000


def description_of(month: int, looks: Iterable[tuple[str, int, int]]) -> str:
    """Names, sizes and times of a month's day files, with the name of their folder."""
    folder = f"month={month:02d}"
    return "".join([f"{folder}/{name} {size} {modified}\n" for name, size, modified in looks])


def stamp_for(description: str, newest: int) -> int:
    """In nanoseconds; no other state of these files has it. ``newest`` is the latest of their modification times.

    Its seconds are those of the newest file; below the second it is a digest of their names, sizes and times.
    """
    digest = hashlib.sha256(description.encode()).digest()
    return newest // SECOND * SECOND + int.from_bytes(digest[:8], "big") % SECOND
