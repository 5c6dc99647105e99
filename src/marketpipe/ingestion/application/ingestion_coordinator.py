"""Running an ingestion job: from its plan to the checkpoint of every symbol-day.

What is requested next: first what the planner and the scheduler planned, then parts of failed requests (bisection),
then the postponed days that another process had leased (leases).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from attrs import evolve

from marketpipe.ingestion.application.batch_runner import JOB_ENDING, BatchRunner, RequestBisection
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import WantedDates
from marketpipe.ingestion.application.leases import LeasedBatches, LeaseGuard
from marketpipe.ingestion.application.official_days import OfficialDaysCoordinator
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.application.recovery import OrphanAdopter
from marketpipe.ingestion.domain.ingestion_checkpoint import CLOCKS_DIFFER, IngestionCheckpoint, premature_reason
from marketpipe.ingestion.domain.ingestion_job import BatchProgress, IngestionJob, JobState, KeptBars
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan, IngestionScope
from marketpipe.ingestion.domain.official_days import NO_OFFICIAL_DAYS, OfficialDaysReport
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    IngestionInterrupted,
    JobStoppingError,
    MarketPipeError,
    StoreBusyError,
    StoreUnreachableError,
)
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, StoreInventory
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome, dates_by_symbol
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsRequested,
    BarsStored,
    JobFinished,
    JobStarted,
    StoredSymbolDay,
    SymbolDaysRecorded,
)

WithdrawBars = Callable[[Collection[SymbolDay]], None]
"""Removes the stored bars of symbol-days durably; as of an earlier moment they are still there.

The caller has a lease on the days. Raises ``StorageError``.
"""


class IngestionCoordinator:
    """Runs a job: plans it, runs its batches, records a checkpoint for every symbol-day, and closes it in any case.

    The handlers run on the thread of the batch's worker.
    """

    def __init__(
        self,
        identity: DatasetIdentity,
        planner: IngestionPlanner,
        state: IngestionState,
        inventory: StoreInventory,
        bus: EventBus,
        clock: Clock,
        runner: BatchRunner,
        orphans: OrphanAdopter,
        guard: LeaseGuard,
        withdraw: WithdrawBars,
        confirmations: int,
        official: OfficialDaysCoordinator | None = None,
        closing_auction: int | None = None,
    ) -> None:
        """``confirmations``: so often in a row the provider returns no bars for a day before ``withdraw`` is called.

        ``official`` is None for a provider that has no official days; ``closing_auction`` is the provider's.
        """
        self._closing_auction = closing_auction
        self._identity, self._provider, self._planner = identity, identity.provider, planner
        self._state, self._inventory = state, inventory
        self._bus, self._clock, self._runner = bus, clock, runner
        self._orphans, self._guard, self._official = orphans, guard, official
        self._withdraw, self._confirmations = withdraw, confirmations
        self._begun: dict[int, BatchProgress] = {}
        self._ended = deque[BatchProgress]()
        self._batches = LeasedBatches(state.leases, planner, clock, bus.publish)
        self._bisection = RequestBisection(planner)

    def ingest(
        self, scope: IngestionScope, suspect: Collection[SymbolDay] = (), recheck: TradingDate | None = None
    ) -> IngestionJob:
        """Plan the scope, request what is missing and the ``suspect`` days, and record a checkpoint for each.

        Orphan files are adopted first, then official days are requested: those that are missing, those of ``suspect``
        days, and all from ``recheck`` on; where they have changed, or disagree with the minutes, the minutes are
        requested again. Raises ``DatasetMismatchError`` at once, and ``JobStoppingError`` or
        ``StoreUnreachableError``; checkpoints that were recorded by then stay.
        """
        self._begin(scope)
        official = NO_OFFICIAL_DAYS
        if self._official is not None:
            official = self._official.ask(scope, recheck, lambda: self._runner.stopping, suspect)
            suspect = {*suspect, *(() if recheck is None else self._official.disagreeing(scope, recheck))}
        plan = self._planner.plan(scope, suspect)
        if not self._runner.stopping and self._orphans.adopt(plan.unrecorded):
            plan = self._planner.plan(scope, suspect)
        return self._run_plan(scope, plan, official)

    def ingest_again(self, scope: IngestionScope, wanted: WantedDates) -> IngestionJob:
        """Request just the ``wanted`` dates of the scope; the bars that come replace the stored ones."""
        self._begin(scope, again=True)
        return self._run_plan(scope, self._planner.plan_again(scope, wanted))

    def ingest_restated(self, scope: IngestionScope, wanted: WantedDates) -> IngestionJob:
        """Request just the ``wanted`` dates of the scope, and first their official days: those are restated too.

        The dates between them whose official day has changed are requested as well.
        """
        self._begin(scope, again=True)
        official, dates = NO_OFFICIAL_DAYS, [date for some in wanted.values() for date in some]
        if self._official is not None and dates:
            span = evolve(scope, symbols=tuple(wanted), first=min(dates), last=max(dates), since={})
            official = self._official.ask(span, span.first, lambda: self._runner.stopping)
        changed = dates_by_symbol(official.changed)
        both = {symbol: {*some, *changed.get(symbol, ())} for symbol, some in wanted.items()}
        return self._run_plan(scope, self._planner.plan_again(scope, both), official)

    def ingest_official_days(self, scope: IngestionScope, wanted: WantedDates) -> IngestionJob:
        """Request just the official days of the ``wanted`` dates of the scope, and no minutes."""
        self._begin(scope, again=True)
        official = NO_OFFICIAL_DAYS
        if self._official is not None:
            official = self._official.ask_again(scope, wanted, lambda: self._runner.stopping)
        return self._run_plan(scope, self._planner.plan_again(scope, {}), official)

    def request_official_days_again(self, scope: IngestionScope) -> None:
        """Request all official days of the scope, whatever is known of them.

        Their records are forgotten first, so that the next ingestion requests again what fails now.
        """
        self._begin(scope, again=True)
        if self._official is not None:
            for symbol in scope.symbols:
                self._state.official_years.forget(symbol)
            self._official.ask(scope, stopping=lambda: self._runner.stopping)

    def stop(self) -> None:
        """End the job, the one in progress or the next one, until ``go``. Safe from any thread."""
        self._runner.stop()

    def go(self) -> None:
        self._runner.go()

    def on_bars_stored(self, event: BarsStored) -> None:
        progress = self._begun[event.request.batch_id]
        results = [(progress.stored(day), day) for day in event.days]
        self._record(progress, [(result, day) for result, day in results if result is not None])
        self._guard.unpin(event.request)
        if self._runner.stopping:
            raise IngestionInterrupted("stopped after the symbol-days that had been begun")

    def on_bars_exhausted(self, event: BarsExhausted) -> None:
        progress = self._begun[event.request.batch_id]
        if progress.open_days():
            with self._guard.pinned(event.request):
                kept = self._kept(event.request, progress.open_days())
                results = progress.exhausted(event.refused, kept)
                self._withdraw_empty(results, kept)
                self._record(progress, [(result, None) for result in results])

    def bind(self, scope: IngestionScope) -> None:
        """Bind the state to the dataset. Raises ``DatasetMismatchError``."""
        self._state.bind_dataset(self._identity, scope.session_kind, self._closing_auction)

    def _begin(self, scope: IngestionScope, *, again: bool = False) -> None:
        self.bind(scope)
        self._batches.begin(again=again)
        self._mark_premature()

    def _mark_premature(self) -> None:
        """Mark what a clock that ran ahead recorded as failed: once its moment has come, it would look true."""
        found = self._state.checkpoints.premature(self._clock.now().plus(CLOCKS_DIFFER))
        reasons = dict[Symbol, dict[TradingDate, str]]()
        for day, recorded in found.items():
            reasons.setdefault(day.symbol, {})[day.trading_date] = premature_reason(recorded)
        for symbol, dates in reasons.items():
            self._state.checkpoints.mark_suspect(symbol, dates)
            self._state.official_years.forget(symbol)

    def _run_plan(
        self, scope: IngestionScope, plan: IngestionPlan, official: OfficialDaysReport = NO_OFFICIAL_DAYS
    ) -> IngestionJob:
        phases: Sequence[Sequence[BarsRequest]] = plan.phases
        with self._job(scope, plan) as job:
            job.official = official
            while any(phases) and not self._runner.stopping:
                for batches in phases:
                    self._runner.run(batches, partial(self._run_batch, job.job_id), partial(self._absorb, job))
                # Busy symbol-days are tried again until the other process has settled or released them.
                phases = () if self._runner.stopping else [(batch,) for batch in self._batches.take_postponed()]
        return job

    def _run_batch(self, job_id: int, batch: BarsRequest) -> MarketPipeError | None:
        """Run on a worker. Lease the batch's days and publish its requests, one that fails again in parts."""
        error: MarketPipeError | None = None
        with self._batches.leased(batch) as (days, parts):
            self._note_settled(job_id, batch, days.settled)
            left = deque(parts)
            while left and not isinstance(error, (IngestionInterrupted, *JOB_ENDING)):
                request = left.popleft()
                progress = self._begun[request.batch_id] = BatchProgress(job_id, request)
                try:
                    self._bus.publish(BarsRequested(request))
                    self._bisection.reset()
                except MarketPipeError as failure:
                    error = self._failed(progress, failure, left) or error
                finally:
                    self._ended.append(self._begun.pop(request.batch_id))
        return error

    def _failed(
        self, progress: BatchProgress, error: MarketPipeError, left: deque[BarsRequest]
    ) -> MarketPipeError | None:
        """Return the error that ends the request; None if it is requested in parts, or later, instead."""
        if isinstance(error, IngestionInterrupted):
            return error
        if not isinstance(error, StoreBusyError):
            with suppress(StoreBusyError), self._guard.pinned(progress.request):
                if parts := self._bisection.parts(progress.request, progress.open_days(), error):
                    left.extend(parts)
                    return None
                self._record(progress, [(result, None) for result in progress.fail_open_days(error)])
                return error
        self._batches.postpone(progress.request, progress.open_days())
        return None

    def _note_settled(
        self, job_id: int, request: BarsRequest, settled: Mapping[SymbolDay, IngestionCheckpoint]
    ) -> None:
        """Take over what another process has settled since this job was planned."""
        if settled:
            outcomes = tuple(
                SymbolDayOutcome(day, known.outcome, known.rows, known.rejected) for day, known in settled.items()
            )
            progress = BatchProgress(job_id, request)
            progress.note(outcomes)
            self._ended.append(progress)
            self._bus.publish(SymbolDaysRecorded(job_id, self._provider, outcomes))

    def _withdraw_empty(self, results: Iterable[SymbolDayOutcome], kept: Mapping[SymbolDay, KeptBars]) -> None:
        """Remove stored bars of days that are empty now, before that is recorded."""
        empty = [found.symbol_day for found in results if found.outcome is Outcome.EMPTY]
        if withdrawn := [day for day in empty if day in kept]:
            self._withdraw(withdrawn)

    def _kept(self, request: BarsRequest, open_days: Iterable[SymbolDay]) -> dict[SymbolDay, KeptBars]:
        """Return what is stored of the days; those that never had bars are left out."""
        first, last = request.sessions[0].trading_date, request.sessions[-1].trading_date
        kept: dict[SymbolDay, KeptBars] = {}
        for symbol in {day.symbol for day in open_days}:
            records = self._state.checkpoints.between(symbol, first, last)
            dates = self._inventory.dates(symbol, first, last) | {
                date for date, known in records.items() if known.version
            }
            kept |= {SymbolDay(symbol, date): self._kept_of(records.get(date)) for date in dates}
        return kept

    def _kept_of(self, record: IngestionCheckpoint | None) -> KeptBars:
        if record is None:
            return KeptBars(0)
        # This answer is one more.
        repeated = record.contradictions > 0 and record.contradictions + 1 >= self._confirmations
        return KeptBars(record.rows, repeated)

    def _record(
        self, progress: BatchProgress, results: Iterable[tuple[SymbolDayOutcome, StoredSymbolDay | None]]
    ) -> None:
        answers = [(result, progress.hours_of(result.symbol_day), stored) for result, stored in results]
        if answers:
            self._state.checkpoints.record(progress.job_id, self._clock.now(), answers)
            outcomes = tuple(result for result, _, _ in answers)
            progress.note(outcomes)
            self._bus.publish(SymbolDaysRecorded(progress.job_id, self._provider, outcomes))

    def _absorb(self, job: IngestionJob) -> None:
        # On the caller's thread, after each batch: what ended batches hold would otherwise grow with the job.
        while self._ended:
            job.absorb(self._ended.popleft().outcomes.values())

    @contextmanager
    def _job(self, scope: IngestionScope, plan: IngestionPlan) -> Iterator[IngestionJob]:
        """Open a job and close it, whatever ends it: no job stays in progress."""
        self._begun.clear()
        self._ended.clear()
        self._bisection.reset()
        job = IngestionJob(
            self._state.jobs.open(scope, self._clock.now(), plan.planned),
            scope,
            planned=plan.planned,
            settled=plan.settled,
            not_begun=plan.not_begun,
            estimate=plan.estimate,
        )
        try:
            self._bus.publish(JobStarted(job.job_id, self._provider, plan.planned, plan.settled, len(plan.batches)))
            try:
                yield job
            finally:
                self._absorb(job)
            if not self._runner.stopping:
                job.finish()
        except (JobStoppingError, StoreUnreachableError):
            job.finish()
            raise
        finally:
            if job.state is JobState.RUNNING:
                job.interrupt()
            self._state.jobs.close(job, self._clock.now())
            self._bus.publish(JobFinished(job.job_id, self._provider, str(job.state)))
