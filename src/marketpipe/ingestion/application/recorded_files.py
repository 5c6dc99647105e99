from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionHours

NO_JOB: Final = 0


class RecordedFiles:
    """The kernel's ``FileRegister`` over the state."""

    def __init__(self, state: IngestionState, clock: Clock) -> None:
        self._state, self._clock = state, clock

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(summary.symbol for summary in self._state.summaries())

    def files(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedFile]:
        records = self._state.records(symbol, first, last)
        return {date: record.file for date, record in records.items() if record.file is not None}

    def doubt(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """As failed checkpoints; the file stays recorded, so that what heals it is known to be what it was."""
        known, now = self._state.records(symbol, min(reasons), max(reasons)), self._clock.now()
        self._state.record(
            [
                IngestionCheckpoint(
                    NO_JOB,
                    SymbolDayOutcome(
                        SymbolDay(symbol, date), Outcome.FAILED, known[date].rows, known[date].rejected, reason
                    ),
                    known[date].hours | SessionHours.REGULAR,
                    now,
                )
                for date, reason in reasons.items()
                if date in known and known[date].outcome.is_settled
            ]
        )
