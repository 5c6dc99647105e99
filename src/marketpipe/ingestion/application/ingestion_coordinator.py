from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from marketpipe.ingestion.application.batch_runner import BatchRunner, BlameFinder
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import WantedDates
from marketpipe.ingestion.application.leases import LeasedBatches, LeaseGuard
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.application.recovery import InterruptedWork
from marketpipe.ingestion.domain.ingestion_checkpoint import DayRecord, IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import BatchProgress, IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan, IngestionScope
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    IngestionInterrupted,
    MarketPipeError,
    StoreBusyError,
)
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, StoreInventory
from marketpipe.shared_kernel.domain.symbol import SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Clock
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


class IngestionCoordinator:
    """Runs a job: its batches, a checkpoint for every symbol-day, and an honest end.

    Handlers run on the batch's worker.
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
        interrupted: InterruptedWork,
        guard: LeaseGuard,
    ) -> None:
        self._identity, self._provider, self._planner = identity, identity.provider, planner
        self._state, self._inventory = state, inventory
        self._bus, self._clock, self._runner = bus, clock, runner
        self._interrupted = interrupted
        self._begun: dict[int, BatchProgress] = {}
        self._ended = deque[BatchProgress]()
        self._shared, self._blame = LeasedBatches(state.leases, planner, clock), BlameFinder(planner)
        self._guard = guard

    def ingest(self, scope: IngestionScope, suspect: Collection[SymbolDay] = ()) -> IngestionJob:
        """Raises ``DatasetMismatchError`` at once, and ``CredentialsError``; what was checkpointed by then stays."""
        self._runner.go()
        self._state.bind_dataset(self._identity, scope.session_kind)
        self._shared.begin()
        plan = self._planner.plan(scope, suspect)
        if self._interrupted.take_over(plan.unrecorded):
            plan = self._planner.plan(scope, suspect)
        return self._carry_out(scope, plan)

    def ingest_again(self, scope: IngestionScope, wanted: WantedDates) -> IngestionJob:
        """Asks for the ``wanted`` dates of the scope and for nothing else; what comes takes the place of what was."""
        self._runner.go()
        self._state.bind_dataset(self._identity, scope.session_kind)
        self._shared.begin(again=True)
        return self._carry_out(scope, self._planner.plan_again(scope, wanted))

    def _carry_out(self, scope: IngestionScope, plan: IngestionPlan) -> IngestionJob:
        self._begun.clear()
        self._ended.clear()
        self._blame.begin()
        job_id = self._state.jobs.open(scope, self._clock.now(), plan.planned)
        job = IngestionJob(
            job_id,
            scope,
            planned=plan.planned,
            settled=plan.settled,
            not_begun=plan.not_begun,
            estimate=plan.estimate,
        )
        with self._closing(job):
            self._bus.publish(JobStarted(job.job_id, self._provider, plan.planned, plan.settled, len(plan.batches)))
            self._work_off(job, plan)
        return job

    def stop(self) -> None:
        """Workers finish the symbol-days in hand and ask for nothing more. Safe to call from any thread."""
        self._runner.stop()

    def on_bars_stored(self, event: BarsStored) -> None:
        progress = self._begun[event.request.batch_id]
        results = [(progress.stored(day), day) for day in event.days]
        self._record(progress, [(result, day) for result, day in results if result is not None])
        self._guard.unpin(event.request)
        if self._runner.stopping:
            raise IngestionInterrupted("stopped after the symbol-days in hand")

    def on_bars_exhausted(self, event: BarsExhausted) -> None:
        progress = self._begun[event.request.batch_id]
        refused = progress.refused_days((item.symbol, item.reason) for item in event.refused)
        if progress.open_days():
            with self._guard.pinned(event.request):
                results = progress.exhausted(refused, self._kept(event.request, progress.open_days()))
                self._record(progress, [(result, None) for result in results])

    def _kept(self, request: BarsRequest, open_days: Iterable[SymbolDay]) -> dict[SymbolDay, int]:
        """The bars of those days that are or were stored; 0 where nobody has written down how many."""
        first, last = request.sessions[0].trading_date, request.sessions[-1].trading_date
        kept: dict[SymbolDay, int] = {}
        for symbol in {day.symbol for day in open_days}:
            records = self._state.checkpoints.between(symbol, first, last)
            dates = self._inventory.dates(symbol, first, last) | {date for date, known in records.items() if known.file}
            kept |= {SymbolDay(symbol, date): records[date].rows if date in records else 0 for date in dates}
        return kept

    def _work_off(self, job: IngestionJob, plan: IngestionPlan) -> None:
        """What others hold is looked at again until they have settled it or let go of it."""

        def absorb() -> None:
            while self._ended:
                job.absorb(self._ended.popleft().outcomes.values())

        try:
            phases: Sequence[Sequence[BarsRequest]] = plan.phases
            while any(phases) and not self._runner.stopping:
                for batches in phases:
                    self._runner.run(batches, lambda batch: self._run(job.job_id, batch), absorb)
                phases = () if self._runner.stopping else [(batch,) for batch in self._shared.left()]
        finally:
            absorb()

    def _run(self, job_id: int, request: BarsRequest) -> MarketPipeError | None:
        error: MarketPipeError | None = None
        with self._shared.taken(request) as (days, parts):
            self._note_settled(job_id, request, days.settled)
            left = deque(parts)
            while left and not isinstance(error, IngestionInterrupted | CredentialsError):
                error = self._fetch(job_id, left.popleft(), left) or error
        return error

    def _fetch(self, job_id: int, request: BarsRequest, left: deque[BarsRequest]) -> MarketPipeError | None:
        """``left`` gets what is to be asked for instead, where it fails."""
        progress = self._begun[request.batch_id] = BatchProgress(job_id, request)
        try:
            return self._ask(progress, left)
        except StoreBusyError:
            self._shared.leave(request, progress.open_days())
            return None
        finally:
            self._ended.append(self._begun.pop(request.batch_id))

    def _ask(self, progress: BatchProgress, left: deque[BarsRequest]) -> MarketPipeError | None:
        """Raises ``StoreBusyError`` where somebody else has taken the days over."""
        try:
            self._bus.publish(BarsRequested(progress.request))
            self._blame.answered()
        except StoreBusyError:
            raise
        except IngestionInterrupted as error:
            return error
        except MarketPipeError as error:
            return self._failed(progress, error, left)
        return None

    def _failed(
        self, progress: BatchProgress, error: MarketPipeError, left: deque[BarsRequest]
    ) -> MarketPipeError | None:
        with self._guard.pinned(progress.request):
            parts = self._blame.parts(progress.request, progress.open_days(), error)
            if not parts:
                self._record(progress, [(result, None) for result in progress.fail_open_days(error)])
                return error
            left.extend(parts)
            return None

    def _note_settled(self, job_id: int, request: BarsRequest, settled: Mapping[SymbolDay, DayRecord]) -> None:
        """What somebody else has found out is known to this job too."""
        if settled:
            outcomes = tuple(
                SymbolDayOutcome(day, known.outcome, known.rows, known.rejected) for day, known in settled.items()
            )
            progress = BatchProgress(job_id, request)
            progress.note(outcomes)
            self._ended.append(progress)
            self._bus.publish(SymbolDaysRecorded(job_id, self._provider, outcomes))

    def _record(
        self, progress: BatchProgress, results: Iterable[tuple[SymbolDayOutcome, StoredSymbolDay | None]]
    ) -> None:
        now = self._clock.now()
        checkpoints = [
            IngestionCheckpoint(progress.job_id, result, progress.hours_of(result.symbol_day), now, stored)
            for result, stored in results
        ]
        if checkpoints:
            self._state.checkpoints.record(checkpoints)
            outcomes = tuple(checkpoint.result for checkpoint in checkpoints)
            progress.note(outcomes)
            self._bus.publish(SymbolDaysRecorded(progress.job_id, self._provider, outcomes))

    @contextmanager
    def _closing(self, job: IngestionJob) -> Iterator[None]:
        """Whatever ends the job, it does not stay in progress."""
        job.start()
        try:
            yield
            if not self._runner.stopping:
                job.finish()
        except CredentialsError:
            job.finish()
            raise
        finally:
            if job.state is JobState.RUNNING:
                job.interrupt()
            self._state.jobs.close(job, self._clock.now())
            self._bus.publish(JobFinished(job.job_id, self._provider, str(job.state)))
