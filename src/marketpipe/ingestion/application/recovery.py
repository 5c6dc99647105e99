"""After a crash or a loss: adopting orphan files, building a new state from the stored files, marking suspects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

from marketpipe.ingestion.application.leases import LEASE
from marketpipe.ingestion.application.ports import Checkpoints, IngestionState, OrphanFiles, StoredState
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
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
from marketpipe.shared_kernel.domain.timestamp import Clock, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import (
    DISTANT_FUTURE,
    DISTANT_PAST,
    SessionHours,
    SessionKind,
    TradingCalendar,
    TradingDate,
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
        now, answers = self._clock.now(), defaultdict[int, list[Answer]](list)
        # Leased: the checkpoints of a process that ingests the same days meanwhile must not be overwritten.
        leased = self._state.leases.take(dict.fromkeys(unrecorded, SessionHours.NONE), None, now, now.plus(LEASE))
        try:
            for symbol, dates in dates_by_symbol(sorted(leased.ours)).items():
                for file, job in self._orphans(symbol, dates, jobs):
                    result = SymbolDayOutcome(file.symbol_day, Outcome.COMPLETE, file.rows, file.rejected)
                    answers[job.job_id].append((result, job.session_kind.hours, file))
            # If this dies between two jobs, the next ingestion adopts the rest: it still has no checkpoint.
            for job_id, some in answers.items():
                self._state.checkpoints.record(job_id, self._clock.now(), some)
        finally:
            self._state.leases.release(leased.lease)
        return bool(answers)

    def _orphans(
        self, symbol: Symbol, dates: Sequence[TradingDate], jobs: Sequence[InterruptedJob]
    ) -> Iterator[tuple[StoredSymbolDay, InterruptedJob]]:
        """Yield files with the latest job that may have written them.

        Only of days that were final when the job started: others are requested again anyway.
        """
        sessions = {session.trading_date: session for session in self._calendar.sessions(dates[0], dates[-1])}
        known = self._state.checkpoints.between(symbol, dates[0], dates[-1])
        for file in self._files.of(symbol, [date for date in dates if date in sessions and date not in known]):
            candidates = (job for job in jobs if job.may_have_written(file))
            job = max(candidates, key=lambda job: job.job_id, default=None)
            if job and self._finality.is_final(sessions[file.symbol_day.trading_date], job.started_at):
                yield file, job


StoredDays = Iterable[tuple[Symbol, Iterable[StoredSymbolDay]]]
OUTSIDE: Final = SessionHours.EARLY | SessionHours.LATE
NO_JOB: Final = 0
NO_SESSION: Final = "the exchange had no session on that date"


class StateRecoverer:
    """Builds a new state from the files of a store and their metadata. See docs/adr/0011."""

    def __init__(
        self,
        file: StoredState,
        open_state: Callable[[], IngestionState],
        calendar: TradingCalendar,
        finality: SessionFinality,
        clock: Clock,
    ) -> None:
        self._file, self._open_state = file, open_state
        self._calendar, self._finality, self._clock = calendar, finality, clock

    def archive_state(self, force: bool) -> str | None:
        """Archive the former state; return its new location, None if there was nothing to archive.

        Raises ``ConfigurationError`` if readable records would be replaced, and ``StoreBusyError`` while a process is
        ingesting: it would go on recording into the archived state.
        """
        if self._file.is_in_use():
            raise StoreBusyError(
                "a process is using this state: wait for it to end, or stop it, and run 'marketpipe recover' again"
            )
        return self._file.archive(self._clock.now()) if self.must_archive(force) else None

    def has_state(self) -> bool:
        """Return whether there is a state file, whatever it contains."""
        return self._file.condition() is not StateCondition.ABSENT

    def must_archive(self, force: bool) -> bool:
        """Whether there is a state to archive. Raises ``ConfigurationError`` as ``archive_state``; changes nothing."""
        condition = self._file.condition()
        if condition is StateCondition.FOREIGN:
            raise ConfigurationError(f"the state file {condition}; give another state_path")
        if condition is StateCondition.NEWER and not force:
            raise ConfigurationError(
                f"the state file {condition}: install that version, or archive the state with --force"
            )
        if condition is StateCondition.USABLE and not force:
            raise ConfigurationError(
                "the state of this store can be read: there is nothing to recover. To archive it and build a new one "
                "all the same: 'marketpipe recover --force'"
            )
        return condition not in (StateCondition.ABSENT, StateCondition.UNCLAIMED)

    def recover(self, identity: DatasetIdentity | None, stored: StoredDays, archived: str | None) -> RecoveryReport:
        """Record one symbol after another. The dataset is bound last: if this is killed, it can be run again."""
        if identity is None:
            return RecoveryReport(None, None, set_aside=archived)
        state, counts = self._open_state(), _Counts()
        for symbol, days in stored:
            found = sorted(days, key=lambda day: day.symbol_day)
            if found:
                self._record(state, found, counts)
                counts.symbols.append(symbol)
        # Of imported days alone, minutes may come later, and the hours of none of them are left out. An ingestion of
        # the extended session can widen a regular store; one of the regular session is refused in an extended store.
        imported_days_alone = identity.is_imported and not counts.symbols
        kind = SessionKind.EXTENDED if counts.extended or imported_days_alone else SessionKind.REGULAR
        if kind is SessionKind.EXTENDED:
            for symbol in counts.symbols:
                self._widen(state, symbol)
        state.bind_dataset(identity, kind, self._finality.closing_auction)
        return RecoveryReport(identity, kind, **counts.sums, damaged=counts.damaged, set_aside=archived)

    def _record(self, state: IngestionState, days: Sequence[StoredSymbolDay], counts: _Counts) -> None:
        dates = [day.symbol_day.trading_date for day in days]
        sessions = {session.trading_date: session for session in self._calendar.sessions(dates[0], dates[-1])}
        answers: list[Answer] = []
        for day in days:
            session = sessions.get(day.symbol_day.trading_date)
            if error := day.error or (NO_SESSION if session is None else None):
                counts.damaged[day.symbol_day] = error
            elif session is not None:
                since = day.known_since or self._clock.now()
                outcome = Outcome.COMPLETE if self._finality.is_final(session, since) else Outcome.PARTIAL
                result = SymbolDayOutcome(day.symbol_day, outcome, day.rows, day.rejected)
                answers.append((result, SessionHours.REGULAR, day if day.rows else None))
                counts.add(day, outcome, session.window(SessionKind.REGULAR, self._finality.closing_auction))
        state.checkpoints.record(NO_JOB, self._clock.now(), answers)

    def _widen(self, state: IngestionState, symbol: Symbol) -> None:
        """Settle the early and late hours of all days: a store of the extended session has requested them."""
        dates = state.checkpoints.between(symbol, DISTANT_PAST, DISTANT_FUTURE)
        results = (SymbolDayOutcome(SymbolDay(symbol, date), Outcome.COMPLETE) for date in dates)
        state.checkpoints.record(NO_JOB, self._clock.now(), [(result, OUTSIDE, None) for result in results])


@define
class _Counts:
    extended: bool = False
    sums: Counter[str] = field(factory=Counter)
    damaged: dict[SymbolDay, str] = field(factory=dict)
    symbols: list[Symbol] = field(factory=list)

    def add(self, day: StoredSymbolDay, outcome: Outcome, regular: TimeWindow) -> None:
        """``regular``: the hours that a store of regular sessions may hold."""
        if day.first is not None and day.last is not None:
            self.extended |= day.first < regular.start or day.last >= regular.end
        partial = outcome is Outcome.PARTIAL
        self.sums.update(symbol_days=1, partial=partial, bars=day.rows, rejected=day.rejected)


DAYS_AT_A_TIME: Final = 1000
ReadDays = Callable[[Symbol, Collection[TradingDate]], Iterable[StoredSymbolDay]]
"""Reads the files of these dates of a symbol."""


class FigureRecorder:
    """Records what the minutes add up to of days that a version of MarketPipe without figures has stored."""

    def __init__(self, checkpoints: Checkpoints, read_days: ReadDays) -> None:
        self._checkpoints, self._read_days = checkpoints, read_days

    def record(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> None:
        """Read the files of those days between the dates, both inclusive, and no others."""
        known = self._checkpoints.between(symbol, first, last)
        lacking = [date for date, day in known.items() if day.version is not None and day.figures is None]
        for start in range(0, len(lacking), DAYS_AT_A_TIME):
            self._checkpoints.add_figures(self._read_days(symbol, lacking[start : start + DAYS_AT_A_TIME]))


class RecordedVersions:
    """The kernel's ``VersionRegister`` over the checkpoints."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(self._checkpoints.requested_spans())

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        known = self._checkpoints.between(symbol, first, last)
        return {date: found.version for date, found in known.items() if found.version is not None}

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        # The version stays recorded, so that a file that is repaired is known to be the recorded one.
        self._checkpoints.mark_suspect(symbol, reasons)
