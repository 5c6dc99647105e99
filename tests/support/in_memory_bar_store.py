"""The port ``BarStore`` in plain Python: the same promises, kept without files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Sequence
from datetime import time, timedelta
from typing import Any

import pyarrow as pa
from attrs import define, evolve, field

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import EXTENDED_OPEN, MINUTES_A_DAY, TradedMinutes
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.testing import FakeClock

Row = dict[str, Any]
Rows = dict[SymbolDay, list[Row]]


@define
class InMemoryBarStore:
    """``bars`` and ``quarantine`` have the stored bars; ``damaged`` symbol-days cannot be read.

    ``known_since`` has the moment of the last change of each symbol-day.
    """

    bars: Rows = field(factory=dict)
    quarantine: Rows = field(factory=dict)
    damaged: set[SymbolDay] = field(factory=set)
    clock: Clock = field(factory=FakeClock)
    known_since: dict[SymbolDay, Timestamp] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        with self._lock:
            return self._store_all(accepted, rejected)

    def withdraw(self, days: Collection[SymbolDay]) -> None:
        with self._lock:
            for day in days:
                self.bars.pop(day, None)

    def _store_all(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        turned_down = _rows_of(rejected)
        newer = _rows_of(accepted)
        results = tuple(
            self._store(part, newer[part.symbol_day], turned_down.get(part.symbol_day, [])) for part in accepted.slices
        )
        for part in accepted.slices:
            self._quarantine(part, turned_down.get(part.symbol_day, []))
        return results

    def _quarantine(self, part: SymbolDaySlice, rejected: Sequence[Row]) -> None:
        before = [row for row in self.quarantine.get(part.symbol_day, []) if not _is_answered_again(row, part)]
        rows = [*before, *(row for row in rejected if row not in before)]
        self.quarantine.pop(part.symbol_day, None)
        if rows:
            self.quarantine[part.symbol_day] = rows

    def _store(self, part: SymbolDaySlice, newer: Sequence[Row], rejected: Sequence[Row]) -> StoredSymbolDay:
        day, whole = part.symbol_day, part.final_window is not None
        if day in self.damaged and not (newer and _covers_noon(part)):
            return StoredSymbolDay(day, 0, len(rejected), whole, error=f"{day} is damaged; move it away")
        merged = _merged([] if day in self.damaged else self.bars.get(day, []), newer, rejected, part)
        if not merged:
            return StoredSymbolDay(day, 0, len(rejected), whole)
        self._replace(day, merged)
        return _described(StoredSymbolDay(day, len(merged), len(rejected), whole), merged, self.known_since[day])

    def _replace(self, day: SymbolDay, bars: list[Row]) -> None:
        if day in self.damaged or repr(bars) != repr(self.bars.get(day)):
            now, before = self.clock.now(), self.known_since.get(day)
            self.known_since[day] = now if before is None else max(now, before.plus(timedelta(microseconds=1)))
        self.bars[day] = bars
        self.damaged.discard(day)


def _described(result: StoredSymbolDay, bars: Sequence[Row], known_since: Timestamp) -> StoredSymbolDay:
    content = repr(bars).encode()
    first, last = (Timestamp(bars[row]["timestamp"]) for row in (0, -1))
    digest, minutes = hashlib.sha256(content).hexdigest(), _minutes(result.symbol_day, bars)
    return evolve(
        result,
        first=first,
        last=last,
        size_bytes=len(content),
        sha256=digest,
        minutes=minutes,
        known_since=known_since,
        mark=f"{known_since} {digest}",
    )


def _minutes(day: SymbolDay, bars: Sequence[Row]) -> TradedMinutes:
    start = day.trading_date.at(EXTENDED_OPEN).moment
    minutes = {(row["timestamp"] - start) // timedelta(minutes=1) for row in bars}
    return TradedMinutes.of(sum(1 << minute for minute in minutes if 0 <= minute < MINUTES_A_DAY))


def _merged(stored: Sequence[Row], newer: Sequence[Row], rejected: Sequence[Row], part: SymbolDaySlice) -> list[Row]:
    bars = {row["timestamp"]: row for row in stored if not _withdrawn(row, newer, rejected, part)}
    bars |= {row["timestamp"]: row for row in newer}
    return [bars[moment] for moment in sorted(bars)]


def _is_answered_again(row: Row, part: SymbolDaySlice) -> bool:
    if part.final_window is None or row["timestamp"] is None:
        return _covers_noon(part)
    return part.final_window.contains(Timestamp(row["timestamp"]))


def _covers_noon(part: SymbolDaySlice) -> bool:
    return part.final_window is not None and part.final_window.contains(part.symbol_day.trading_date.at(time(12)))


def _withdrawn(row: Row, newer: Sequence[Row], rejected: Sequence[Row], part: SymbolDaySlice) -> bool:
    """A complete response with any bar withdraws what it leaves out, but not rejected bars."""
    if (
        part.final_window is None
        or not newer
        or row["timestamp"] in {turned_down["timestamp"] for turned_down in rejected}
    ):
        return False
    return part.final_window.contains(Timestamp(row["timestamp"]))


def _rows_of(bars: ColumnarBars) -> Rows:
    rows: list[Row] = pa.table(bars).to_pylist()
    return {part.symbol_day: rows[part.offset : part.offset + part.length] for part in bars.slices}
