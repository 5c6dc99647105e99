from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.predicate import Record
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind


@frozen
class BarColumns:
    """Bars as the predicates read them: one Arrow array a field, timestamps in epoch microseconds.

    ``context`` fields (session_start, session_end, now) say what a bar is held against besides itself.
    """

    table: pa.Table
    slices: tuple[SymbolDaySlice, ...]
    fields: Mapping[str, pa.Array]

    @property
    def num_rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def symbols(self) -> frozenset[Symbol]:
        return frozenset(part.symbol_day.symbol for part in self.slices)

    def record(self, row: int) -> Record:
        return {name: array[row].as_py() for name, array in self.fields.items()}

    def slice_of(self, row: int) -> SymbolDaySlice:
        starts = [part.offset for part in self.slices]
        return self.slices[int(np.searchsorted(starts, row, side="right")) - 1]


def bar_columns(bars: ColumnarBars, calendar: TradingCalendar, kind: SessionKind, now: Timestamp) -> BarColumns:
    """Slices are taken to lie end to end, in the order of the rows."""
    table = pa.table(bars).combine_chunks()
    filled = tuple(part for part in bars.slices if part.length)
    fields = {name: _array(table, name) for name in table.column_names}
    fields["timestamp"] = fields["timestamp"].cast(pa.int64())
    starts, ends = _session_bounds(filled, calendar, kind)
    fields |= {"session_start": starts, "session_end": ends}
    fields["now"] = pa.repeat(pa.scalar(now.epoch_micros, pa.int64()), table.num_rows)
    return BarColumns(table, filled, fields)


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _session_bounds(
    slices: tuple[SymbolDaySlice, ...], calendar: TradingCalendar, kind: SessionKind
) -> tuple[pa.Array, pa.Array]:
    windows = _windows({part.symbol_day.trading_date for part in slices}, calendar, kind)
    bounds = [windows.get(part.symbol_day.trading_date) for part in slices]
    lengths = np.array([part.length for part in slices], np.int64)
    closed = np.repeat(np.array([bound is None for bound in bounds], np.bool_), lengths)
    starts = np.repeat([bound[0] if bound else 0 for bound in bounds], lengths)
    ends = np.repeat([bound[1] if bound else 0 for bound in bounds], lengths)
    return pa.array(starts, pa.int64(), mask=closed), pa.array(ends, pa.int64(), mask=closed)


def _windows(
    dates: set[TradingDate], calendar: TradingCalendar, kind: SessionKind
) -> Mapping[TradingDate, tuple[int, int]]:
    if not dates:
        return {}
    windows = {s.trading_date: s.window(kind) for s in calendar.sessions(min(dates), max(dates))}
    return {day: (window.start.epoch_micros, window.end.epoch_micros) for day, window in windows.items()}
