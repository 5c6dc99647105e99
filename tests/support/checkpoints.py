from __future__ import annotations

from typing import Any

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay

CHECKED_AT = Timestamp.parse("2025-06-02T12:00:00Z")


def checkpoint(
    symbol: str,
    date: str,
    outcome: Outcome = Outcome.COMPLETE,
    rows: Any = 390,
    *,
    rejected: Any = 0,
    kind: SessionKind = SessionKind.EXTENDED,
) -> IngestionCheckpoint:
    """Of a file of ten bytes a row; of no file where there are no rows."""
    day = SymbolDay(Symbol(symbol), TradingDate.parse(date))
    error = "no" if outcome is Outcome.FAILED else None
    file = StoredSymbolDay(day, rows, 0, True, CHECKED_AT, CHECKED_AT, 3900, "ab" * 32) if rows else None
    found = SymbolDayOutcome(day, outcome, 390 if rows else 0, rejected, error)
    return IngestionCheckpoint(1, found, kind, CHECKED_AT, file)
