from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

from marketpipe.ingestion.application.leases import LEASE
from marketpipe.ingestion.application.ports import Checkpoints, IngestionState, OrphanFiles, StateFile
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import InterruptedJob
from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
from marketpipe.ingestion.domain.store_status import RecoveryReport, StateCondition
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import (
    Outcome,
    Symbol,
    SymbolDay,
    SymbolDayOutcome,
    dates_by_symbol,
)
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import (
    DISTANT_FUTURE,
    DISTANT_PAST,
    SessionHours,
    SessionKind,
    TradingCalendar,
    TradingDate,
    TradingSession,
)
from marketpipe.shared_kernel.events import StoredSymbolDay


class OrphanAdopter:
    """Records files that a job had stored when it was killed before their checkpoints. See docs/adr/0013."""

    def __init__(
        self,
        state: IngestionState,
        files: OrphanFiles,
        calendar: TradingCalendar,
        finality: SessionFinality,
        clock: Clock,
    ) -> None:
        self._state, self._files = state, files
        self._calendar, self._finality, self._clock = calendar, finality, clock

    def adopt(self, unrecorded: Collection[SymbolDay]) -> bool:
        """Record the files of these symbol-days, which have no checkpoint, if an interrupted job may have written
        them. Return whether any was recorded.
        """
        jobs = self._state.jobs.interrupted() if unrecorded else ()
        if not jobs:
            return False
        now = self._clock.now()
        wanted = dict.fromkeys(unrecorded, SessionHours.NONE)
        leased = self._state.leases.take(wanted, None, now, now.plus(LEASE))
        try:
            checkpoints = [
                checkpoint
                for symbol, dates in dates_by_symbol(sorted(leased.ours)).items()
                for checkpoint in self._checkpoints(symbol, dates, jobs)
            ]
            if checkpoints:
                self._state.checkpoints.record(checkpoints)
        finally:
            self._state.leases.release(leased.lease)
        return bool(checkpoints)

    def _checkpoints(
        self, symbol: Symbol, dates: Sequence[TradingDate], jobs: Sequence[InterruptedJob]
    ) -> Iterator[IngestionCheckpoint]:
        """Yield those of days that were final when their job began: others must be requested again anyway."""
        sessions = {session.trading_date: session for session in self._calendar.sessions(dates[0], dates[-1])}
        known = self._state.checkpoints.between(symbol, dates[0], dates[-1])
        for found in self._files.of(symbol, [date for date in dates if date in sessions and date not in known]):
            job = _author(found, jobs)
            if job and self._finality.is_final(sessions[found.symbol_day.trading_date], job.started_at):
                yield self._checkpoint(found, job)

    def _checkpoint(self, found: StoredSymbolDay, job: InterruptedJob) -> IngestionCheckpoint:
        result = SymbolDayOutcome(found.symbol_day, Outcome.COMPLETE, found.rows, found.rejected)
        return IngestionCheckpoint(job.job_id, result, job.session_kind.hours, self._clock.now(), found)


def _author(found: StoredSymbolDay, jobs: Sequence[InterruptedJob]) -> InterruptedJob | None:
    """Return the latest job that may have written the file."""
    return max((job for job in jobs if job.may_have_written(found)), key=lambda job: job.job_id, default=None)


StoredDays = Iterable[tuple[Symbol, Iterable[StoredSymbolDay]]]
OUTSIDE: Final = SessionHours.EARLY | SessionHours.LATE
NO_JOB: Final = 0
NO_SESSION: Final = "the exchange had no session on that date"


class StateRecoverer:
    """Builds a state from what the files of a store say of themselves. See ADR 0011."""

    def __init__(
        self,
        file: StateFile,
        open_state: Callable[[], IngestionState],
        calendar: TradingCalendar,
        finality: SessionFinality,
        clock: Clock,
    ) -> None:
        self._file, self._open_state = file, open_state
        self._calendar, self._finality, self._clock = calendar, finality, clock

    def make_room(self, force: bool) -> str | None:
        """Where the former state file lies now; None where nothing has to make room.

        Raises ``ConfigurationError`` for records that are there and would be lost, ``StoreBusyError`` where an
        ingestion would go on recording in what is set aside.
        """
        if self._file.is_in_use():
            raise StoreBusyError(
                "somebody is at work on this state: wait for the end of that, or stop it; then recover"
            )
        return self._file.set_aside(self._clock.now()) if self.has_to_make_room(force) else None

    def has_to_make_room(self, force: bool) -> bool:
        """Raises ``ConfigurationError`` as ``make_room`` would; touches nothing."""
        condition = self._file.condition()
        if condition is StateCondition.FOREIGN:
            raise ConfigurationError(f"the state file {condition}; give another state_path")
        if condition is StateCondition.NEWER and not force:
            raise ConfigurationError(f"the state file {condition}: install that, or set the file aside with --force")
        if condition is StateCondition.USABLE and not force:
            raise ConfigurationError(
                "this store has a state that can be read: there is nothing to recover. To build a new one all the "
                "same, and set the old one aside: marketpipe recover --force"
            )
        return condition not in (StateCondition.ABSENT, StateCondition.UNCLAIMED)

    def recover(self, identity: DatasetIdentity | None, stored: StoredDays, set_aside: str | None) -> RecoveryReport:
        """One symbol at a time. The dataset is leased at the end: until then it may be tried again."""
        if identity is None:
            return RecoveryReport(None, None, set_aside=set_aside)
        state, tally = self._open_state(), _Tally()
        for symbol, days in stored:
            known = sorted(days, key=lambda day: day.symbol_day)
            if known:
                self._record(state, known, tally)
                tally.symbols.append(symbol)
        kind = SessionKind.EXTENDED if tally.extended else SessionKind.REGULAR
        if kind is SessionKind.EXTENDED:
            for symbol in tally.symbols:
                self._widen(state, symbol)
        state.bind_dataset(identity, kind)
        return tally.report(identity, kind, set_aside)

    def _record(self, state: IngestionState, days: Sequence[StoredSymbolDay], tally: _Tally) -> None:
        dates = [day.symbol_day.trading_date for day in days]
        sessions = {session.trading_date: session for session in self._calendar.sessions(dates[0], dates[-1])}
        checkpoints = []
        for day in days:
            session = sessions.get(day.symbol_day.trading_date)
            if error := day.error or (NO_SESSION if session is None else None):
                tally.damaged[day.symbol_day] = error
            elif session is not None:
                checkpoints.append(self._checkpoint(day, session))
                tally.add(day, checkpoints[-1].result.outcome, session)
        state.checkpoints.record(checkpoints)

    def _checkpoint(self, day: StoredSymbolDay, session: TradingSession) -> IngestionCheckpoint:
        since = day.known_since or self._clock.now()
        outcome = Outcome.COMPLETE if self._finality.is_final(session, since) else Outcome.PARTIAL
        result = SymbolDayOutcome(day.symbol_day, outcome, day.rows, day.rejected)
        return IngestionCheckpoint(NO_JOB, result, SessionHours.REGULAR, since, day if day.rows else None)

    def _widen(self, state: IngestionState, symbol: Symbol) -> None:
        now, dates = self._clock.now(), state.checkpoints.between(symbol, DISTANT_PAST, DISTANT_FUTURE)
        state.checkpoints.record([_of_hours_outside(SymbolDay(symbol, date), now) for date in dates])


def _of_hours_outside(day: SymbolDay, now: Timestamp) -> IngestionCheckpoint:
    return IngestionCheckpoint(NO_JOB, SymbolDayOutcome(day, Outcome.COMPLETE), OUTSIDE, now)


@define
class _Tally:
    extended: bool = False
    counts: Counter[str] = field(factory=Counter)
    damaged: dict[SymbolDay, str] = field(factory=dict)
    symbols: list[Symbol] = field(factory=list)

    def add(self, day: StoredSymbolDay, outcome: Outcome, session: TradingSession) -> None:
        if day.first is not None and day.last is not None:
            self.extended |= day.first < session.opens or day.last >= session.closes
        partial = outcome is Outcome.PARTIAL
        self.counts.update(symbol_days=1, partial=partial, bars=day.rows, rejected=day.rejected)

    def report(self, identity: DatasetIdentity, kind: SessionKind, set_aside: str | None) -> RecoveryReport:
        return RecoveryReport(identity, kind, **self.counts, damaged=self.damaged, set_aside=set_aside)


class RecordedFiles:
    """The kernel's ``FileRegister`` over the state."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(self._checkpoints.requested_spans())

    def files(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        records = self._checkpoints.between(symbol, first, last)
        return {date: record.file for date, record in records.items() if record.file is not None}

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """The file stays recorded, so that what heals it is known to be what it was."""
        self._checkpoints.mark_suspect(symbol, reasons)
