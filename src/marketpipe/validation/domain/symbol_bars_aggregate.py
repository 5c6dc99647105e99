"""Rules for a bar among the other bars of its symbol-day: repeated, out of order, after a gap, or far off in price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Record, Severity
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE


class SequenceCheck(Enum):
    """What can be wrong with a bar among the other bars of its symbol-day."""

    REPEATED = "a later bar has the same timestamp"
    OUT_OF_ORDER = "an earlier bar has a later timestamp"
    JUMP = "its high is more than `limit` times the closes of both neighbours, or its low times `limit` is below both"
    GAP = "more than `limit` minutes are between it and the bar before"


@frozen
class SequenceRule:
    """A condition on a bar among the bars of its symbol-day, in the order in which the provider sent them.

    ``limit`` is the check's only number: a factor for ``JUMP``, minutes for ``GAP``, unused by the others.
    """

    name: str
    severity: Severity
    check: SequenceCheck
    complaint: str
    limit: float = 0.0


@frozen
class SymbolBarsAggregate:
    """The plain evaluator of sequence rules: the bars of one symbol-day, in the order the provider sent them."""

    symbol_day: SymbolDay
    bars: Sequence[Record]

    def offenders(self, rule: SequenceRule) -> list[int]:
        """Return the positions of the bars that do not satisfy ``rule``, ascending."""
        return [i for i in range(len(self.bars)) if self._offends(i, rule)]

    def _offends(self, i: int, rule: SequenceRule) -> bool:
        match rule.check:
            case SequenceCheck.REPEATED:
                # The last bar of a timestamp is the one that stays: a provider's later statement replaces its earlier.
                return any(self._time(j) == self._time(i) for j in range(i + 1, len(self.bars)))
            case SequenceCheck.OUT_OF_ORDER:
                return any(self._time(j) > self._time(i) for j in range(i))
            case SequenceCheck.GAP:
                return i > 0 and self._time(i) - self._time(i - 1) > rule.limit * MICROS_PER_MINUTE
            case SequenceCheck.JUMP:
                return self._jumps(i, rule.limit)

    def _jumps(self, i: int, limit: float) -> bool:
        # Against both neighbours: after a real move the bars that follow stay at the new price, a bad print returns.
        closes = [self._price(j, "close") for j in (i - 1, i + 1) if 0 <= j < len(self.bars)]
        neighbours = [close for close in closes if not math.isnan(close)]
        if not neighbours:
            return False
        above = self._price(i, "high") > limit * max(neighbours)
        return above or self._price(i, "low") * limit < min(neighbours)

    def _time(self, i: int) -> int:
        return int(self.bars[i]["timestamp"] or 0)

    def _price(self, i: int, name: str) -> float:
        value = self.bars[i][name]
        return math.nan if value is None else float(value)
