from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager

from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.batch_progress import BatchProgress
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.lost_partitions import still_settled
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import CredentialsError, IngestionInterrupted, MarketPipeError
from marketpipe.shared_kernel.domain.store_inventory import StoreInventory
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.bar_events import BarsExhausted, BarsRequested, BarsStored, StoredSymbolDay
from marketpipe.shared_kernel.events.job_events import JobFinished, JobStarted, SymbolDaysRecorded


class IngestionCoordinator:
    """Runs a job: its batches over an executor, a checkpoint for every symbol-day, and an honest end.

    A batch that fails does not stop the others; refused credentials stop all. Handlers run on the batch's worker.
    """

    def __init__(
        self,
        identity: DatasetIdentity,
        scheduler: JobScheduler,
        state: IngestionState,
        inventory: StoreInventory,
        bus: EventBus,
        clock: Clock,
        new_executor: Callable[[], Executor],
    ) -> None:
        self._identity, self._provider, self._scheduler = identity, identity.provider, scheduler
        self._state, self._inventory = state, inventory
        self._bus, self._clock, self._new_executor = bus, clock, new_executor
        self._begun: dict[int, BatchProgress] = {}
        self._stopping = False

    def plan(self, scope: IngestionScope) -> IngestionPlan:
        typical = self._state.typical_bars_per_day(scope.symbols)
        return self._scheduler.plan(scope, self._settled(scope), self._clock.now(), typical)

    def ingest(self, scope: IngestionScope) -> IngestionJob:
        """Raises ``DatasetMismatchError`` at once, and ``CredentialsError``; what was checkpointed by then stays."""
        self._go()
        self._begun.clear()
        self._state.claim(self._identity)
        plan = self.plan(scope)
        job_id = self._state.open_job(scope, self._clock.now(), plan.planned)
        job = IngestionJob(job_id, scope, planned=plan.planned, settled=plan.settled, not_begun=plan.not_begun)
        with self._closing(job):
            self._bus.publish(JobStarted(job.job_id, self._provider, plan.planned, plan.settled, len(plan.batches)))
            self._work_off(job, plan.batches)
        return job

    def _settled(self, scope: IngestionScope) -> Mapping[Symbol, frozenset[TradingDate]]:
        """A checkpoint whose file is gone or was cut short counts for nothing."""
        recorded = self._state.recorded_sizes(scope)
        return {
            symbol: still_settled(
                days, recorded.get(symbol, {}), self._inventory.sizes(symbol, scope.first, scope.last)
            )
            for symbol, days in self._state.settled(scope).items()
        }

    def stop(self) -> None:
        """Workers finish the symbol-days in hand and ask for nothing more. Safe to call from any thread."""
        self._stopping = True
        self._clock.interrupt()

    def _go(self) -> None:
        self._stopping = False
        self._clock.resume()

    def on_bars_stored(self, event: BarsStored) -> None:
        progress = self._begun[event.request.batch_id]
        results = [(progress.stored(day), day) for day in event.days]
        self._record(progress, [(result, day) for result, day in results if result is not None])
        if self._stopping:
            raise IngestionInterrupted("stopped after the symbol-days in hand")

    def on_bars_exhausted(self, event: BarsExhausted) -> None:
        progress = self._begun[event.request.batch_id]
        refused = progress.refused_days((item.symbol, item.reason) for item in event.refused)
        results = progress.exhausted(refused, self._kept(event.request, progress.open_days()))
        self._record(progress, [(result, None) for result in results])

    def _kept(self, request: BarsRequest, open_days: Iterable[SymbolDay]) -> dict[SymbolDay, int]:
        """The bars of those days whose files lie in the store; 0 where nobody has written down how many."""
        first, last = request.sessions[0].trading_date, request.sessions[-1].trading_date
        symbols = {day.symbol for day in open_days}
        on_disk = {symbol: self._inventory.sizes(symbol, first, last) for symbol in symbols}
        recorded = self._state.stored_bars(request) if any(on_disk.values()) else {}
        found = (SymbolDay(symbol, date) for symbol, sizes in on_disk.items() for date in sizes)
        return {day: recorded.get(day, 0) for day in found}

    def _work_off(self, job: IngestionJob, batches: Sequence[BarsRequest]) -> None:
        executor = self._new_executor()
        try:
            futures = [executor.submit(self._run, job.job_id, batch) for batch in batches]
            for future in as_completed(futures):
                if future.exception() is None and isinstance(error := future.result(), CredentialsError):
                    raise error
            for future in futures:
                future.result()  # a bug, such as in somebody's provider, surfaces once the other batches are done
        finally:
            self._wait_for_workers(executor)
            while self._begun:
                job.absorb(self._begun.popitem()[1].outcomes.values())

    def _wait_for_workers(self, executor: Executor) -> None:
        """Where the job ends early, they finish the symbol-days in hand."""
        asked_to_stop = self._stopping
        self.stop()
        executor.shutdown(wait=True, cancel_futures=True)
        if not asked_to_stop:
            self._go()

    def _run(self, job_id: int, request: BarsRequest) -> MarketPipeError | None:
        """What ended the batch before its time."""
        if self._stopping:
            return None
        progress = self._begun[request.batch_id] = BatchProgress(job_id, request)
        try:
            self._bus.publish(BarsRequested(request))
        except IngestionInterrupted as error:
            return error
        except MarketPipeError as error:
            if isinstance(error, CredentialsError):
                self.stop()
            self._record(progress, [(result, None) for result in progress.fail_open_days(error)])
            return error
        return None

    def _record(
        self, progress: BatchProgress, results: Iterable[tuple[SymbolDayOutcome, StoredSymbolDay | None]]
    ) -> None:
        now, kind = self._clock.now(), progress.request.session_kind
        checkpoints = [IngestionCheckpoint(progress.job_id, result, kind, now, stored) for result, stored in results]
        if checkpoints:
            self._state.record(checkpoints)
            outcomes = tuple(checkpoint.result for checkpoint in checkpoints)
            progress.note(outcomes)
            self._bus.publish(SymbolDaysRecorded(progress.job_id, self._provider, outcomes))

    @contextmanager
    def _closing(self, job: IngestionJob) -> Iterator[None]:
        """Whatever ends the job, it does not stay in progress."""
        job.start()
        try:
            yield
            if not self._stopping:
                job.finish()
        except CredentialsError:
            job.finish()
            raise
        finally:
            if job.state is JobState.RUNNING:
                job.interrupt()
            self._state.close_job(job, self._clock.now())
            self._bus.publish(JobFinished(job.job_id, self._provider, str(job.state)))
