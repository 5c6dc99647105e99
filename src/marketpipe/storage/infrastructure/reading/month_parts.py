"""The bars of read copies that a query asks for, a part for each month, in order. Nothing of Arrow copies is read."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.shared_kernel.infrastructure.new_york_days import LAST_MOMENT
from marketpipe.storage.infrastructure.aggregates.read_copies import MOST_KEPT, DateRuns, FreshCopy
from marketpipe.storage.infrastructure.parquet_files import map_in_threads, times_of
from marketpipe.storage.infrastructure.reading.exact_moments import ALWAYS
from marketpipe.storage.infrastructure.reading.minute_files import MinuteFiles
from marketpipe.storage.infrastructure.reading.needed_bars import TIMESTAMP
from marketpipe.storage.infrastructure.reading.select_syntax import ExactBars

EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
BITS_OF_A_VALUE: Final = 65
"""Of a column of bars that is decoded: each has eight bytes, and one bit says whether it is null."""


@frozen(eq=False)
class Part:
    """Wanted bars of a month, and their trading dates."""

    symbol: str
    bars: pa.Table
    days: npt.NDArray[np.int32]
    """Numbers of dates since 1970, each for so many bars as ``counts`` has in its place."""
    counts: npt.NDArray[np.int32]
    first_time: int
    """Of all bars of the month, in microseconds since 1970."""
    last_time: int


class Room:
    """Bytes of memory for decoded bars. If they are too few once, the room is full from then on.

    Several threads may call it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left, self._lock, self.is_full = most_bytes, threading.Lock(), False

    def take(self, size: int) -> bool:
        """Return whether there is room for so many bytes more; a negative number gives some back."""
        with self._lock:
            self._left -= size
            self.is_full = self.is_full or self._left < 0
            return not self.is_full


def parts_of_months(
    files: MinuteFiles, wanted: ExactBars, columns: Collection[str], most_decoded: int, most_mapped: int = MOST_KEPT
) -> Sequence[Part] | None:
    """Return these bars by symbol, then time, with these columns at least.

    None if there is a month without a copy, if a copy is torn or is not in order, if there is no bar, if bars
    of copies in Parquet take more than ``most_decoded`` bytes, and if more than ``most_mapped`` copies would stay
    mapped as long as the answer.
    """
    symbols = wanted.needed.symbols
    copies = [copy for copy in files.copies if symbols is None or copy.month.symbol.value in symbols]
    if files.others or sum(copy.is_arrow for copy in copies) > most_mapped:
        return None
    copies.sort(key=lambda copy: (copy.month.symbol.value, copy.month.year, copy.month.month))
    names = [name for name in BAR_SCHEMA.names if name in columns or name == TIMESTAMP]
    schema = BAR_SCHEMA if names == BAR_SCHEMA.names else pa.schema([BAR_SCHEMA.field(name) for name in names])
    room = Room(most_decoded)
    try:
        parts = [part for some in _read(copies, schema, wanted, room, files.layout.machine) for part in some]
    except PartitionUnreadableError:
        return None
    is_in_order = all(a.symbol != b.symbol or a.last_time <= b.first_time for a, b in pairwise(parts))
    return parts if parts and is_in_order and not room.is_full else None


def _read(
    copies: Sequence[FreshCopy], schema: pa.Schema, wanted: ExactBars, room: Room, machine: Machine
) -> list[list[Part]]:
    def read(copy: FreshCopy) -> list[Part]:
        return [] if room.is_full else _parts_of(copy, schema, wanted, room)

    # To open a mapped copy takes no time: threads would only wait for each other.
    if all(copy.is_arrow for copy in copies):
        return [read(copy) for copy in copies]
    return map_in_threads(read, copies, machine)


def _parts_of(copy: FreshCopy, schema: pa.Schema, wanted: ExactBars, room: Room) -> list[Part]:
    """Return the part of a month, none if it has no wanted bar, or if there is no room to decode it.

    Raises ``PartitionUnreadableError``.
    """
    if (opened := copy.opened()) is None:
        raise PartitionUnreadableError(f"{copy.path} is torn, or was replaced while it was opened")
    decoded = 0 if opened.is_mapped else _decoded_bytes(sum(opened.rows.values()), schema)
    bars = opened.bars(schema) if room.take(decoded) else schema.empty_table()
    if not len(bars):
        return []
    runs = opened.date_runs if opened.is_mapped else opened.date_runs_of(times_of(bars))
    if runs.first is None or runs.last is None or not 0 <= runs.first <= runs.last < LAST_MOMENT:
        raise PartitionUnreadableError(f"{copy.path} has bars that are not in order, or of unusual years")
    counts, (start, end) = runs.counts, _places(wanted, runs, bars)
    if end - start < len(bars):
        bars = bars.slice(start, max(end - start, 0))
        if not opened.is_mapped:
            bars = bars.take(np.arange(len(bars)))  # or the others would stay in memory
            room.take(_decoded_bytes(len(bars), schema) - decoded)
        ends = np.clip(np.cumsum(counts), start, end)
        counts = (ends - np.append(start, ends[:-1])).astype(np.int32)
    return [Part(copy.month.symbol.value, bars, runs.days, counts, runs.first, runs.last)] if len(bars) else []


def _decoded_bytes(rows: int, schema: pa.Schema) -> int:
    return rows * len(schema) * BITS_OF_A_VALUE // 8


def _places(wanted: ExactBars, runs: DateRuns, bars: pa.Table) -> tuple[int, int]:
    """Return where the wanted bars of a month start and end; before the start if there are none."""
    start, end, moments = 0, len(bars), wanted.moments
    first, last = _number(wanted.needed.first), _number(wanted.needed.last)
    if not first <= runs.days[0] <= runs.days[-1] <= last:
        before, until = np.searchsorted(runs.days, first), np.searchsorted(runs.days, last, "right")
        start, end = int(runs.counts[:before].sum()), int(runs.counts[:until].sum())
    if moments is not ALWAYS:  # the object itself: it is compared for every copy
        since, ends = np.searchsorted(times_of(bars), np.array([moments.first, moments.end]))
        start, end = max(start, int(since)), min(end, int(ends))
    return start, end


def _number(day: date) -> int:
    return day.toordinal() - EPOCH_ORDINAL
