from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Record
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.validation.domain.validation_rule import SequenceCheck, SequenceRule


@frozen
class SymbolBarsAggregate:
    """The bars of one symbol-day, in the order in which the provider sent them.

    The plain evaluator of sequence rules, one bar at a time: it says what the rules mean. The evaluator that runs on
    real data is infrastructure/column_masks.py; a property test holds the two together.
    """

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
