"""The port ``BarStore`` in plain Python: what it promises, said once more without files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from attrs import define, field

from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay

Row = dict[str, Any]
Rows = dict[SymbolDay, list[Row]]


@define
class InMemoryBarStore:
    """``bars`` and ``quarantine`` are what is stored; ``damaged`` symbol-days can no longer be read."""

    bars: Rows = field(factory=dict)
    quarantine: Rows = field(factory=dict)
    damaged: set[SymbolDay] = field(factory=set)

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        turned_down = _rows_of(rejected)
        newer = _rows_of(accepted)
        results = tuple(
            self._store(part, newer[part.symbol_day], turned_down.get(part.symbol_day, [])) for part in accepted.slices
        )
        for part in accepted.slices:
            self._quarantine(part, turned_down.get(part.symbol_day, []))
        return results

    def _quarantine(self, part: SymbolDaySlice, rejected: Sequence[Row]) -> None:
        before = [] if part.whole is not None else self.quarantine.get(part.symbol_day, [])
        rows = [*before, *(row for row in rejected if row not in before)]
        self.quarantine.pop(part.symbol_day, None)
        if rows:
            self.quarantine[part.symbol_day] = rows

    def _store(self, part: SymbolDaySlice, newer: Sequence[Row], rejected: Sequence[Row]) -> StoredSymbolDay:
        day, whole = part.symbol_day, part.whole is not None
        if day in self.damaged and not (whole and newer):
            return StoredSymbolDay(day, 0, len(rejected), whole, error=f"{day} is damaged; move it away")
        stored = [] if day in self.damaged else self.bars.get(day, [])
        self.damaged.discard(day)
        merged = _merged(stored, newer, rejected, part)
        if not merged:
            return StoredSymbolDay(day, 0, len(rejected), whole)
        self.bars[day] = merged
        first, last = (Timestamp(merged[row]["timestamp"]) for row in (0, -1))
        content = repr(merged).encode()
        digest = hashlib.sha256(content).hexdigest()
        return StoredSymbolDay(day, len(merged), len(rejected), whole, first, last, len(content), digest)


def _merged(stored: Sequence[Row], newer: Sequence[Row], rejected: Sequence[Row], part: SymbolDaySlice) -> list[Row]:
    bars = {row["timestamp"]: row for row in stored if not _withdrawn(row, newer, rejected, part)}
    bars |= {row["timestamp"]: row for row in newer}
    return [bars[moment] for moment in sorted(bars)]


def _withdrawn(row: Row, newer: Sequence[Row], rejected: Sequence[Row], part: SymbolDaySlice) -> bool:
    """A whole word that says anything at all withdraws what it leaves out, but not what was turned down."""
    if part.whole is None or not newer or row["timestamp"] in {turned_down["timestamp"] for turned_down in rejected}:
        return False
    return part.whole.contains(Timestamp(row["timestamp"]))


def _rows_of(bars: ColumnarBars) -> Rows:
    rows: list[Row] = pa.table(bars).to_pylist()
    return {part.symbol_day: rows[part.offset : part.offset + part.length] for part in bars.slices}
