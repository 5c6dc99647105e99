from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.store_inventory import VersionMark
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay

CHECKED_AT = Timestamp.parse("2025-06-02T12:00:00Z")


def answer(
    symbol: str,
    date: str,
    outcome: Outcome = Outcome.COMPLETE,
    rows: Any = 390,
    *,
    rejected: Any = 0,
    hours: SessionHours = SessionHours.EXTENDED,
    sha: str = "ab" * 32,
    minutes: TradedMinutes | None = None,
    known_since: Timestamp | None = CHECKED_AT,
    mark: VersionMark | None = "a mark",
    figures: DayFigures | None = None,
) -> Answer:
    """Return an answer with a file of 3900 bytes; without a file if there are no rows."""
    day = SymbolDay(Symbol(symbol), TradingDate.parse(date))
    error = "no" if outcome is Outcome.FAILED else None
    bounds = CHECKED_AT, CHECKED_AT
    stored = StoredSymbolDay(day, rows, 0, True, *bounds, 3900, sha, None, minutes, known_since, mark, figures)
    found = SymbolDayOutcome(day, outcome, 390 if rows else 0, rejected, error)
    return found, hours, stored if rows else None


def record(
    state: IngestionState, answers: Sequence[Answer], job_id: int = 1, checked_at: Timestamp = CHECKED_AT
) -> None:
    state.checkpoints.record(job_id, checked_at, answers)
