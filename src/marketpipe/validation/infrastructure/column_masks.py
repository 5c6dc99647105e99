"""Rules evaluated on whole columns: the evaluator that runs on real data.

``mask`` compiles a predicate to Arrow, ``offenders`` evaluates a sequence rule in numpy. What the rules mean is defined
by the plain evaluators of the domain (``predicate.holds`` and ``SymbolBarsAggregate``); property tests hold both to the
same result, nulls, NaN and infinities included. No function here makes a Python object per bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import evolve, frozen

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
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingCalendar, TradingDate
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceCheck, SequenceRule

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@frozen
class BarColumns:
    """Bars as predicates read them: ``fields`` has one Arrow array a field, all of the same length.

    Timestamps are epoch microseconds, UTC. Besides the columns of ``table`` there are session_start (inclusive),
    session_end (exclusive), both null on a day on which the exchange was closed, and now. ``slices`` are never empty.
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


def bar_columns(
    bars: ColumnarBars,
    calendar: TradingCalendar,
    kind: SessionKind,
    now: Timestamp,
    closing_auction: int | None = None,
) -> BarColumns:
    """Return ``bars`` with what their rules compare them with. Slices must follow one another in the order of rows."""
    table = pa.table(bars).combine_chunks()
    non_empty = tuple(part for part in bars.slices if part.length)
    fields = {name: _array(table, name) for name in table.column_names}
    fields["timestamp"] = fields["timestamp"].cast(pa.int64())
    starts, ends = _session_bounds(non_empty, calendar, kind, closing_auction)
    fields |= {"session_start": starts, "session_end": ends}
    fields["now"] = pa.repeat(pa.scalar(now.epoch_micros, pa.int64()), table.num_rows)
    return BarColumns(table, non_empty, fields)


def official_day_columns(
    bars: ColumnarBars, calendar: TradingCalendar, kind: SessionKind, now: Timestamp
) -> BarColumns:
    """Return official days as ``bar_columns`` returns minutes, with midnight and bars_of_the_day."""
    columns = bar_columns(bars, calendar, kind, now)
    lengths = np.array([part.length for part in columns.slices], np.int64)
    midnights = [part.symbol_day.trading_date.midnight.epoch_micros for part in columns.slices]
    closed = pc.is_null(columns.fields["session_start"]).to_numpy(zero_copy_only=False)
    more = {
        "midnight": pa.array(np.repeat(np.array(midnights, np.int64), lengths), pa.int64(), mask=closed),
        "bars_of_the_day": pa.array(lengths.repeat(lengths), pa.int64()),
    }
    return evolve(columns, fields={**columns.fields, **more})


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _session_bounds(
    slices: tuple[SymbolDaySlice, ...], calendar: TradingCalendar, kind: SessionKind, closing_auction: int | None
) -> tuple[pa.Array, pa.Array]:
    windows = _windows({part.symbol_day.trading_date for part in slices}, calendar, kind, closing_auction)
    bounds = [windows.get(part.symbol_day.trading_date) for part in slices]
    lengths = np.array([part.length for part in slices], np.int64)
    closed = np.repeat(np.array([bound is None for bound in bounds], np.bool_), lengths)
    starts = np.repeat([bound[0] if bound else 0 for bound in bounds], lengths)
    ends = np.repeat([bound[1] if bound else 0 for bound in bounds], lengths)
    return pa.array(starts, pa.int64(), mask=closed), pa.array(ends, pa.int64(), mask=closed)


def _windows(
    dates: set[TradingDate], calendar: TradingCalendar, kind: SessionKind, closing_auction: int | None
) -> Mapping[TradingDate, tuple[int, int]]:
    if not dates:
        return {}
    sessions = calendar.sessions(min(dates), max(dates))
    windows = {session.trading_date: session.window(kind, closing_auction) for session in sessions}
    return {day: (window.start.epoch_micros, window.end.epoch_micros) for day, window in windows.items()}


_COMPARISONS = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "==": pc.equal}


def mask(predicate: Predicate, fields: Mapping[str, pa.Array]) -> pa.BooleanArray:
    """Return True for each row for which the predicate holds; never null. All ``fields`` have the same length."""
    result = _mask(predicate, fields)
    if isinstance(result, pa.BooleanScalar):  # the predicate reads no field
        return pa.repeat(result, len(next(iter(fields.values()))))
    return result


def failing(predicate: Predicate, fields: Mapping[str, pa.Array]) -> Bools | None:
    """Return True for each row for which the predicate does not hold; None if it holds for all, as it mostly does.

    That shows in the bits, without a byte for each row.
    """
    result = mask(predicate, fields)
    return None if result.true_count == len(result) else ~result.to_numpy(zero_copy_only=False)


def _mask(predicate: Predicate, fields: Mapping[str, pa.Array]) -> Any:
    match predicate:
        case Compare(operator, left, right):
            return _null_is_false(_COMPARISONS[operator](_values(left, fields), _values(right, fields)))
        case AllOf(parts):
            return reduce(pc.and_, (_mask(part, fields) for part in parts)) if parts else pa.scalar(True)
        case AnyOf(parts):
            return reduce(pc.or_, (_mask(part, fields) for part in parts)) if parts else pa.scalar(False)
        case Not(part):
            return pc.invert(_mask(part, fields))
        case IsNull(field):
            return pc.is_null(fields[field.name])
        case IsFinite(field):
            return _null_is_false(pc.is_finite(fields[field.name]))
    raise TypeError(f"unknown predicate {predicate!r}")


def _null_is_false(result: Any) -> Any:
    """Predicates have two truth values: a comparison with null does not hold. Arrow would leave it null."""
    return pc.fill_null(result, False) if isinstance(result, pa.Scalar) or result.null_count else result


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
    # In numpy: Arrow has no modulo, and a division that rounds towards zero would be wrong before 1970.
    if not array.null_count:
        return pa.array(np.mod(array.to_numpy(), divisor), pa.int64())
    missing = pc.is_null(array).to_numpy(zero_copy_only=False)
    filled = pc.fill_null(array, 0).to_numpy()
    return pa.array(np.mod(filled, divisor), pa.int64(), mask=missing)


@frozen
class SequenceColumns:
    """Bars of many symbol-days as sequence rules read them, rows of one symbol-day together, in the provider's order.

    ``owner`` numbers the symbol-day of each row, ascending. ``time`` is in epoch microseconds, UTC.
    """

    owner: Int64s
    time: Int64s
    high: Floats
    low: Floats
    close: Floats

    @property
    def follows(self) -> Bools:
        """True for each row whose row before it belongs to the same symbol-day."""
        return np.concatenate([[False], self.owner[1:] == self.owner[:-1]])[: len(self.owner)]


def offenders(rule: SequenceRule, columns: SequenceColumns) -> Bools:
    """Return True for each row that does not satisfy ``rule``."""
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
    repeated = np.zeros(len(columns.time), np.bool_)
    # Bars nearly always come in ascending order, and then none repeats: sort only if a step is not positive.
    if (columns.follows & (_steps(columns.time) <= 0)).any():
        order = np.lexsort((columns.time, columns.owner))  # stable: of equal times, the later row stays later
        time, owner = columns.time[order], columns.owner[order]
        repeated[order[:-1]] = (time[1:] == time[:-1]) & (owner[1:] == owner[:-1])
    return repeated


def _out_of_order(columns: SequenceColumns) -> Bools:
    late = np.zeros(len(columns.time), np.bool_)
    disordered = columns.follows & (_steps(columns.time) < 0)
    for owner in np.unique(columns.owner[disordered]):  # only the symbol-days that are not in order, which are rare
        rows = np.flatnonzero(columns.owner == owner)
        time = columns.time[rows]
        late[rows] = time < np.maximum.accumulate(time)
    return late


def _jumps(columns: SequenceColumns, limit: float) -> Bools:
    before, after = _neighbour_closes(columns)
    # fmax and fmin ignore a NaN neighbour; without any neighbour both are NaN, and no comparison with NaN holds.
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
