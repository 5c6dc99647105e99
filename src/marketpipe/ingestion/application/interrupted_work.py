from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from marketpipe.ingestion.application.claim_fence import LEASE
from marketpipe.ingestion.application.ports import FilesLeftBehind, IngestionState, SymbolDayClaims
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.interrupted_job import InterruptedJob
from marketpipe.ingestion.domain.session_finality import SessionFinality
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionHours
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay


class InterruptedWork:
    """Writes down what a job had stored when it died before its checkpoint. See ADR 0013."""

    def __init__(
        self,
        state: IngestionState,
        claims: SymbolDayClaims,
        files: FilesLeftBehind,
        calendar: TradingCalendar,
        finality: SessionFinality,
        clock: Clock,
    ) -> None:
        self._state, self._claims, self._files = state, claims, files
        self._calendar, self._finality, self._clock = calendar, finality, clock

    def take_over(self, unrecorded: Collection[SymbolDay]) -> bool:
        """Of these symbol-days, which have a file and no record. Whether anything is known now that was not."""
        jobs = self._state.interrupted_jobs() if unrecorded else ()
        if not jobs:
            return False
        now = self._clock.now()
        wanted = dict.fromkeys(unrecorded, SessionHours.NONE)
        claimed = self._claims.take(wanted, None, now, now.plus(LEASE))
        try:
            checkpoints = [
                checkpoint
                for symbol, dates in dates_by_symbol(sorted(claimed.ours)).items()
                for checkpoint in self._checkpoints(symbol, dates, jobs)
            ]
            if checkpoints:
                self._state.record(checkpoints)
        finally:
            self._claims.release(claimed.lease)
        return bool(checkpoints)

    def _checkpoints(
        self, symbol: Symbol, dates: Sequence[TradingDate], jobs: Sequence[InterruptedJob]
    ) -> Iterator[IngestionCheckpoint]:
        """Of days that were final before they were asked for: others have to be asked for again anyway."""
        sessions = {session.trading_date: session for session in self._calendar.sessions(dates[0], dates[-1])}
        known = self._state.records(symbol, dates[0], dates[-1])
        for found in self._files.of(symbol, [date for date in dates if date in sessions and date not in known]):
            job = _author(found, jobs)
            if job and self._finality.is_final(sessions[found.symbol_day.trading_date], job.started_at):
                yield self._checkpoint(found, job)

    def _checkpoint(self, found: StoredSymbolDay, job: InterruptedJob) -> IngestionCheckpoint:
        result = SymbolDayOutcome(found.symbol_day, Outcome.COMPLETE, found.rows, found.rejected)
        return IngestionCheckpoint(job.job_id, result, job.session_kind.hours, self._clock.now(), found)


def _author(found: StoredSymbolDay, jobs: Sequence[InterruptedJob]) -> InterruptedJob | None:
    """The latest that may be."""
    return max((job for job in jobs if job.may_have_written(found)), key=lambda job: job.job_id, default=None)
