"""The other evaluator of predicates: one Arrow mask for a whole column instead of one truth value for a bar."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.predicate import (
    AllOf,
    AnyOf,
    Compare,
    Field,
    IsFinite,
    IsNull,
    Literal,
    Not,
    Predicate,
    Record,
    Remainder,
    Term,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingCalendar, TradingDate
from marketpipe.validation.domain.symbol_bars_aggregate import MICROS_PER_MINUTE
from marketpipe.validation.domain.validation_rule import SequenceCheck, SequenceRule


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


_COMPARISONS = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "==": pc.equal}


def mask(predicate: Predicate, fields: Mapping[str, pa.Array]) -> pa.BooleanArray:
    """True where the predicate holds; never null. All fields have the same length."""
    found = _mask(predicate, fields)
    if isinstance(found, pa.BooleanScalar):  # of a predicate that reads no field
        return pa.repeat(found, len(next(iter(fields.values()))))
    return found


def _mask(predicate: Predicate, fields: Mapping[str, pa.Array]) -> Any:
    match predicate:
        case Compare(operator, left, right):
            return _known(_COMPARISONS[operator](_values(left, fields), _values(right, fields)))
        case AllOf(parts):
            return reduce(pc.and_, (_mask(part, fields) for part in parts), pa.scalar(True))
        case AnyOf(parts):
            return reduce(pc.or_, (_mask(part, fields) for part in parts), pa.scalar(False))
        case Not(part):
            return pc.invert(_mask(part, fields))
        case IsNull(field):
            return pc.is_null(fields[field.name])
        case IsFinite(field):
            return _known(pc.is_finite(fields[field.name]))
    raise TypeError(f"unknown predicate {predicate!r}")


def _known(found: Any) -> Any:
    """What cannot be told does not hold."""
    return pc.fill_null(found, False) if isinstance(found, pa.Scalar) or found.null_count else found


def _values(term: Term, fields: Mapping[str, pa.Array]) -> Any:
    match term:
        case Field(name):
            return fields[name]
        case Literal(value):
            return pa.scalar(value)
        case Remainder(field, divisor):
            return _remainder(fields[field.name], divisor)
    raise TypeError(f"unknown term {term!r}")


def _remainder(array: pa.Array, divisor: int) -> pa.Array:
    if not array.null_count:
        return pa.array(np.mod(array.to_numpy(), divisor), pa.int64())
    missing = pc.is_null(array).to_numpy(zero_copy_only=False)
    whole = pc.fill_null(array, 0).to_numpy()
    return pa.array(np.mod(whole, divisor), pa.int64(), mask=missing)


Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@frozen
class SequenceColumns:
    """``owner`` numbers the symbol-day of each row, ascending; rows of one symbol-day follow one another."""

    owner: Int64s
    time: Int64s
    high: Floats
    low: Floats
    close: Floats

    @property
    def follows(self) -> Bools:
        """Whether a row has a row of its own symbol-day before it."""
        return np.concatenate([[False], self.owner[1:] == self.owner[:-1]])[: len(self.owner)]


def offenders(rule: SequenceRule, columns: SequenceColumns) -> Bools:
    """True where a bar does not satisfy ``rule``."""
    match rule.check:
        case SequenceCheck.REPEATED:
            return _repeated(columns)
        case SequenceCheck.OUT_OF_ORDER:
            return _out_of_order(columns)
        case SequenceCheck.GAP:
            return columns.follows & (_steps(columns.time) > rule.limit * MICROS_PER_MINUTE)
        case SequenceCheck.JUMP:
            return _jumps(columns, rule.limit)


def _steps(values: Int64s) -> Int64s:
    return np.diff(values, prepend=values[:1])


def _repeated(columns: SequenceColumns) -> Bools:
    found = np.zeros(len(columns.time), np.bool_)
    if (columns.follows & (_steps(columns.time) <= 0)).any():
        order = np.lexsort((columns.time, columns.owner))  # stable: of equals, the later row comes later
        time, owner = columns.time[order], columns.owner[order]
        found[order[:-1]] = (time[1:] == time[:-1]) & (owner[1:] == owner[:-1])
    return found


def _out_of_order(columns: SequenceColumns) -> Bools:
    found = np.zeros(len(columns.time), np.bool_)
    disordered = columns.follows & (_steps(columns.time) < 0)
    for owner in np.unique(columns.owner[disordered]):
        rows = np.flatnonzero(columns.owner == owner)
        time = columns.time[rows]
        found[rows] = time < np.maximum.accumulate(time)
    return found


def _jumps(columns: SequenceColumns, limit: float) -> Bools:
    before, after = _neighbour_closes(columns)
    with np.errstate(over="ignore", invalid="ignore"):
        above = columns.high > limit * np.fmax(before, after)
        return above | (columns.low * limit < np.fmin(before, after))


def _neighbour_closes(columns: SequenceColumns) -> tuple[Floats, Floats]:
    before, after = np.full(len(columns.close), np.nan), np.full(len(columns.close), np.nan)
    follows = columns.follows
    before[1:] = columns.close[:-1]
    before[~follows] = np.nan
    after[:-1] = np.where(follows[1:], columns.close[1:], np.nan)
    return before, after
