from __future__ import annotations

from enum import Enum

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol_day import SymbolDay


class Outcome(Enum):
    """What became of a symbol-day the last time it was asked for."""

    COMPLETE = "complete"
    EMPTY = "empty"
    PARTIAL = "partial"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def is_settled(self) -> bool:
        """Needs no further request."""
        return self in (Outcome.COMPLETE, Outcome.EMPTY)


@frozen
class SymbolDayOutcome:
    """``rows`` are in the store, ``rejected`` in quarantine; ``error`` says why it failed, None unless it did."""

    symbol_day: SymbolDay
    outcome: Outcome
    rows: int = 0
    rejected: int = 0
    error: str | None = None
