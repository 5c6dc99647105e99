"""The files of a store as they are on the modelled disk, read without the product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import frozen

from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, MonthFileDamaged, days_in
from tests.simulation.machine_events import STORE
from tests.simulation.rows import Day, Row, in_table

if TYPE_CHECKING:
    from tests.simulation.disk.model import ModelledDisk

AREAS: Final = ("data", "aggregates", "quarantine", "revisions", "official", "copies")
DAY_PATH: Final = re.compile(r"symbol=([^/]+)/year=(\d{4})/month=(\d\d)/day=(\d\d)\.parquet")
MONTH_PATH: Final = re.compile(rf"symbol=([^/]+)/year=(\d{{4}})/month=(\d\d)/{re.escape(MONTH_FILE)}")
UNREADABLE: Final = ((-1, None, None, None, None, None, None, None),)
"""In the place of the rows of a file that is none of bars."""


@lru_cache(maxsize=1 << 13)
def rows_in(content: bytes) -> tuple[Row, ...]:
    """Return the rows of a file of bars, ``UNREADABLE`` if it is none."""
    try:
        return tuple(in_table(pq.read_table(BytesIO(content), use_threads=False)))
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return UNREADABLE


@lru_cache(maxsize=1 << 13)
def times_in(content: bytes) -> frozenset[int | None]:
    """Return the times of a file of rejected bars; one without a time counts as None."""
    try:
        table = pq.read_table(BytesIO(content), columns=["timestamp"], use_threads=False)
        return frozenset(table["timestamp"].cast(pa.int64()).to_pylist())
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return frozenset()


@frozen(eq=False)
class StoreFiles:
    """All files of a store by path: each begins with its area. ``days`` has the content of each day of minute bars, in
    a file of its own or in that of its month, ``twice`` the days that are in both.
    """

    contents: Mapping[str, bytes]
    days: Mapping[Day, bytes]
    twice: frozenset[Day]

    @classmethod
    def on(cls, disk: ModelledDisk) -> StoreFiles:
        start, found = len(STORE) + 1, dict[str, bytes]()
        for area in AREAS:
            found |= {path[start:]: content for path, content in disk.files(f"{STORE}/{area}").items()}
        return cls.of(found)

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> StoreFiles:
        alone, together = dict[Day, bytes](), dict[Day, bytes]()
        for path, content in contents.items():
            if (day := day_of(path)) is not None:
                alone[day] = content
            elif match := MONTH_PATH.fullmatch(path, len("data/")) if path.startswith("data/") else None:
                together |= _days_of(match, content)
        return cls(contents, {**together, **alone}, frozenset(alone.keys() & together.keys()))

    def rows(self, day: Day) -> tuple[Row, ...] | None:
        """Return the stored bars of a symbol-day, None if it has no file."""
        content = self.days.get(day)
        return None if content is None else rows_in(content)

    def rejected(self, day: Day) -> frozenset[int | None]:
        """Return the times of the quarantined bars of a symbol-day."""
        content = self.contents.get(quarantine_path(day))
        return frozenset() if content is None else times_in(content)


def _days_of(match: re.Match[str], content: bytes) -> dict[Day, bytes]:
    try:
        return {(match[1], f"{match[2]}-{match[3]}-{day.name[4:6]}"): day.content for day in days_in(content)}
    except MonthFileDamaged:
        return {}


def day_path(day: Day) -> str:
    """Return the path of a day below its area."""
    symbol, date = day
    return f"symbol={symbol}/year={date[:4]}/month={date[5:7]}/day={date[8:]}.parquet"


def data_path(day: Day) -> str:
    return f"data/{day_path(day)}"


def day_of(path: str) -> Day | None:
    """Return the symbol-day of the path of a file of minute bars; None of another path."""
    match = DAY_PATH.fullmatch(path, len("data/")) if path.startswith("data/") else None
    return None if match is None else (match[1], f"{match[2]}-{match[3]}-{match[4]}")


def month_path(day: Day) -> str:
    return f"{data_path(day).rpartition('/')[0]}/{MONTH_FILE}"


def quarantine_path(day: Day) -> str:
    return f"quarantine/{day_path(day)}"


def official_path(day: Day) -> str:
    """Return the path of the official days of a symbol-day's year."""
    return f"official/symbol={day[0]}/year={day[1][:4]}.parquet"


NO_FILES: Final = StoreFiles.of({})
