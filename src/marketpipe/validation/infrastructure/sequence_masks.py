"""The sequence rules over columns: all symbol-days of a chunk at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import frozen

from marketpipe.validation.domain.sequence_rule import SequenceCheck, SequenceRule
from marketpipe.validation.domain.symbol_bars_aggregate import MICROS_PER_MINUTE

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
