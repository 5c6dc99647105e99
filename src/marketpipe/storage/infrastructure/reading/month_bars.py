"""The minute bars of a compacted month, read from its one file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import day_file
from marketpipe.storage.infrastructure.compacted.day_access import listed, month_problem, month_unreadable
from marketpipe.storage.infrastructure.compacted.month_file import (
    END_BYTES,
    MONTH_FILE,
    MonthFileDamaged,
    parts_at_the_end,
)
from marketpipe.storage.infrastructure.parquet_files import bars_at, bars_in, content_of, file_status
from marketpipe.storage.infrastructure.store_layout import translating

PARQUET: Final = ".parquet"
FEWEST_DAYS: Final = 5
"""Fewer days are read one by one: the file of a month is read as a whole."""


def places_of(folder: str, days: range, disk: Disk = REAL_DISK) -> list[str]:
    """Return where the minute bars of these days of a month would be, as ``minutes_at`` takes it: the paths of their
    files, or one place in the file of the month.
    """
    if len(days) >= FEWEST_DAYS and file_status(f"{folder}/{MONTH_FILE}", disk) is not None:
        return [f"{folder}/{days.start}-{days.stop}"]
    return [f"{folder}/{day_file(day)}" for day in days]


def minutes_at(place: str, columns: pa.Schema, disk: Disk = REAL_DISK) -> pa.Table | None:
    """Return these of the columns of the bars at a place; None if there is no such file."""
    if place.endswith(PARQUET):
        return bars_at(place, columns, disk)
    folder, _, days = place.rpartition("/")
    return bars_of_days(folder, {day_file(day) for day in range(*map(int, days.split("-")))}, columns, disk)


def bars_of_days(folder: str, names: Collection[str], columns: pa.Schema, disk: Disk = REAL_DISK) -> pa.Table:
    """Return the bars of these day files of a month, ascending, as they are at one moment, or each at a later one.

    Raises ``PartitionUnreadableError``.
    """
    path = f"{folder}/{MONTH_FILE}"
    try:
        content = content_of(path, disk)
    except PartitionUnreadableError as error:
        raise month_unreadable(path, month_problem(folder, disk) or "cannot be read") from error
    with translating(folder):
        beside = {*listed(folder, disk)}  # after the file was read: a day that was expanded since is read from its own
    if content is None or not beside.isdisjoint(names):
        return pa.concat_tables([columns.empty_table(), *_one_by_one(folder, names, columns, disk)])
    try:
        parts = parts_at_the_end(content[max(0, content.size - END_BYTES) :].to_pybytes(), content.size)
    except MonthFileDamaged as error:
        raise month_unreadable(path, f"is damaged: {error}") from error
    groups = [number for number, name in enumerate(parts) if name in names]
    try:
        return bars_in(content, path, columns, groups) if groups else columns.empty_table()
    except PartitionUnreadableError:  # its days have footers of their own
        return pa.concat_tables([columns.empty_table(), *_one_by_one(folder, names, columns, disk)])


def _one_by_one(folder: str, names: Collection[str], columns: pa.Schema, disk: Disk) -> Iterator[pa.Table]:
    for name in sorted(names):
        if (bars := bars_at(f"{folder}/{name}", columns, disk)) is not None:
            yield bars
