from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from multiprocessing.sharedctypes import RawValue

from marketpipe.bootstrap import ring_worker
from marketpipe.bootstrap.ring_worker import RingReport
from marketpipe.config import Credentials, PipelineConfig
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    IngestionInterrupted,
    MarketPipeError,
    WorkerLostError,
)
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsRequested, Event, JobStarted

WORKERS_IMPORT = ["marketpipe.bootstrap.ring_imports"]


class ProcessRing:
    """The far side of the ring: requests go to worker processes, and what happened to them comes back as events.

    Any ``concurrent.futures.Executor`` will do whose workers have called ``ring_worker.start``. See ADR 0015.
    """

    def __init__(self, config: PipelineConfig, credentials: Credentials | None, bus: EventBus) -> None:
        _refuse_while_a_worker_imports_the_script()
        self._stopping, self._bus = RawValue("b", 0), bus
        keys = (str(credentials.key), str(credentials.secret)) if credentials else None
        self._new_pool: Callable[[], Executor] = lambda: ProcessPoolExecutor(
            config.workers,
            _context(),
            ring_worker.start,
            (config, keys, self._stopping),
        )
        self._pool: Executor | None = None
        self._lock = threading.Lock()

    def subscribe(self) -> None:
        self._bus.observe(JobStarted, self.on_job_started)
        self._bus.subscribe(BarsRequested, self.on_bars_requested)

    def on_job_started(self, _: JobStarted) -> None:
        self._stopping.value = 0

    def on_bars_requested(self, event: BarsRequested) -> None:
        """Events that came before an error are published before it is raised."""
        report = self._carry_out(event.request)
        errors: list[MarketPipeError | None] = [self._published(each) for each in report.events]
        for error in (report.error, *errors):
            if error is not None:
                raise error

    def stop(self) -> None:
        self._stopping.value = 1

    def close(self) -> None:
        self.stop()
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def _carry_out(self, request: BarsRequest) -> RingReport:
        pool = self._living_pool()
        try:
            return pool.submit(ring_worker.carry_out, request).result()
        except BrokenProcessPool as error:
            self._bury(pool)
            raise WorkerLostError(
                f"{request}: a worker process was killed, or ran out of memory. What it had stored stays; run again, "
                "with fewer workers where memory is short"
            ) from error

    def _living_pool(self) -> Executor:
        with self._lock:
            if self._pool is None:
                self._pool = self._new_pool()
            return self._pool

    def _bury(self, pool: Executor) -> None:
        """The next request gets new workers."""
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False)

    def _published(self, event: Event) -> IngestionInterrupted | None:
        """Who asks to stop has to wait until all is recorded that was stored by then."""
        try:
            self._bus.publish(event)
        except IngestionInterrupted as error:
            return error
        return None


def _refuse_while_a_worker_imports_the_script() -> None:
    """It would begin the same ingestion, and wait for its own parent, who waits for it. multiprocessing marks it so."""
    if getattr(current_process(), "_inheriting", False):
        raise ConfigurationError(
            "executor: processes has each worker import the script it was started from. Put what the script does under "
            "'if __name__ == \"__main__\":'"
        )


def _context() -> BaseContext:
    """Workers are forked, but never from this process: they would inherit locks that its threads hold.

    What they need is imported once, by the process they are forked from, which lives as long as this one.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(WORKERS_IMPORT)
    return context
