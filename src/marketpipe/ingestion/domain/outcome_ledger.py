from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate

_OUTCOMES: Final = (None, *Outcome)
_NUMBERS: Final = {outcome: number for number, outcome in enumerate(_OUTCOMES)}
OUTCOME_BITS: Final = 3
REJECTED_BITS: Final = 30
_MASK: Final = (1 << OUTCOME_BITS) - 1


class OutcomeLedger(Mapping[SymbolDay, SymbolDayOutcome]):
    """Outcomes in eight bytes a calendar day: a job may have millions. They are objects only while looked at.

    By symbol, then date. For each symbol there is an array that begins at its earliest date; 0 where nothing is noted.
    """

    def __init__(self) -> None:
        self._packed: dict[Symbol, array[int]] = {}
        self._first: dict[Symbol, int] = {}
        self._errors: dict[SymbolDay, str] = {}
        self._count = 0

    def put(self, found: SymbolDayOutcome) -> None:
        day = found.symbol_day
        packed, place = self._room_for(day)
        self._count += not packed[place]
        packed[place] = _pack(found)
        self._errors.pop(day, None)
        if found.error is not None:
            self._errors[day] = found.error

    def counts(self) -> Counter[Outcome]:
        numbers = Counter(value & _MASK for packed in self._packed.values() for value in packed if value)
        return Counter({found: numbers[number] for found, number in _NUMBERS.items() if found and numbers[number]})

    def __getitem__(self, day: SymbolDay) -> SymbolDayOutcome:
        packed = self._packed.get(day.symbol, ())
        place = day.trading_date.day.toordinal() - self._first.get(day.symbol, 0)
        if not 0 <= place < len(packed) or not packed[place]:
            raise KeyError(day)
        return self._unpacked(day, packed[place])

    def __iter__(self) -> Iterator[SymbolDay]:
        for symbol in sorted(self._packed):
            first = self._first[symbol]
            for place, value in enumerate(self._packed[symbol]):
                if value:
                    yield SymbolDay(symbol, TradingDate(date.fromordinal(first + place)))

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{len(self)} symbol-days>"

    def _room_for(self, day: SymbolDay) -> tuple[array[int], int]:
        ordinal = day.trading_date.day.toordinal()
        packed, first = self._packed.get(day.symbol, array("q")), self._first.get(day.symbol, ordinal)
        if ordinal < first:
            packed, first = array("q", bytes(8 * (first - ordinal))) + packed, ordinal
        if (missing := ordinal - first + 1 - len(packed)) > 0:
            packed.frombytes(bytes(8 * missing))
        self._packed[day.symbol], self._first[day.symbol] = packed, first
        return packed, ordinal - first

    def _unpacked(self, day: SymbolDay, value: int) -> SymbolDayOutcome:
        rows, rejected = value >> OUTCOME_BITS + REJECTED_BITS, value >> OUTCOME_BITS & (1 << REJECTED_BITS) - 1
        outcome = _OUTCOMES[value & _MASK]
        assert outcome is not None
        return SymbolDayOutcome(day, outcome, rows, rejected, self._errors.get(day))


def _pack(found: SymbolDayOutcome) -> int:
    return (found.rows << REJECTED_BITS | found.rejected) << OUTCOME_BITS | _NUMBERS[found.outcome]
