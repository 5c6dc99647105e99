from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.infrastructure.aggregate_stamp import description_of, stamp_for

DAY_FILE: Final = re.compile(r"day=\d\d\.parquet", re.ASCII)
GONE: Final = -1
IS_GONE: Final = f" {GONE} {GONE}\n"
Look = tuple[str, int, int]
"""A day file's name, size, and modification time in nanoseconds; -1 twice where it is gone when it is looked at."""


def look_at(folder: str) -> list[Look]:
    """The day files of a month, ascending; none where there is no such folder. Raises ``OSError``."""
    fits, found = DAY_FILE.fullmatch, list[Look]()
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return []
    with entries:
        for entry in entries:  # hundreds of thousands pass through here
            if fits(entry.name):
                try:
                    look = entry.stat()
                    found.append((entry.name, look.st_size, look.st_mtime_ns))
                except FileNotFoundError:  # a moment ago it was there, or it is a link to nowhere
                    found.append((entry.name, GONE, GONE))
    found.sort()
    return found


@frozen
class SeenYear:
    """Of a symbol's year the stamps that aggregates bear which were made from just these files."""

    months: Mapping[int, int]
    whole: int

    def covers(self, months: Collection[int]) -> bool:
        return all(month in self.months for month in months)


class SeenMonths:
    """The months whose files have been looked at, for whoever needs them at once: they may have changed since."""

    def __init__(self) -> None:
        self._years: dict[tuple[Symbol, int], SeenYear] = {}

    def note(self, symbol: Symbol, year: int, looks: Mapping[int, list[Look]]) -> None:
        """``looks`` by month, ascending."""
        self._years.pop((symbol, year), None)
        described = {month: description_of(month, found) for month, found in looks.items()}
        if any(IS_GONE in text for text in described.values()):
            return
        newest = {month: max([look[2] for look in found], default=0) for month, found in looks.items()}
        months = {month: stamp_for(text, newest[month]) for month, text in described.items()}
        whole = stamp_for("".join(described.values()), max(newest.values(), default=0))
        self._years[symbol, year] = SeenYear(months, whole)

    def of(self, symbol: Symbol, year: int) -> SeenYear | None:
        return self._years.get((symbol, year))

    def forget(self) -> None:
        self._years.clear()
