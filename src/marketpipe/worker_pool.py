"""``executor: processes``: the ring's first three steps, from a request to durable files, in worker processes.

``WorkerPool`` is the parent's side: it sends requests and publishes what happened to them as events. ``start`` and
``carry_out`` are the worker's side. Only the parent writes checkpoints, so that the state has one writer.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

import pyarrow as pa
from attrs import define, evolve, field, frozen

from marketpipe.composition import subscribe_ring
from marketpipe.config import PROCESSES, Credentials, PipelineConfig
from marketpipe.memory_arenas import share_one_arena
from marketpipe.parts import Parts
from marketpipe.provider_registry import is_registered, needed_credentials
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    IngestionInterrupted,
    MarketPipeError,
    WorkerLostError,
)
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsStored,
    BarsValidated,
    Event,
)
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.unneeded_imports import keep_out_unneeded_imports

from . import derived

ARROW_POOL: Final = "ARROW_DEFAULT_MEMORY_POOL"
"""The variable that chooses the allocator of Arrow. With its own, four workers took a fifth more memory."""
SECONDS_BETWEEN_CHECKS: Final = 0.1
"""How often a worker looks whether it is asked to stop. That its parent died it sees at once."""
NO_BARS: Final = ArrowBars(pa.Table.from_batches([], BAR_SCHEMA), ())
IMPORTED_BEFORE_FORKING: Final = [
    "marketpipe.fork_server",  # first, so that nothing outlives the parent while the others are imported
    "marketpipe.worker_pool",
    "marketpipe.ingestion.application.leases",
    "marketpipe.ingestion.application.recovery",
    "marketpipe.ingestion.infrastructure.sqlite_state",
    "marketpipe.integration.application.bars_fetcher",
    "marketpipe.integration.infrastructure.alpaca.alpaca_client",
    "marketpipe.integration.infrastructure.http_exchange",
    "marketpipe.integration.infrastructure.rate_limits.rate_limiter",
    "marketpipe.integration.infrastructure.whole_day_assembler",
    "marketpipe.shared_kernel.infrastructure.exchange_calendar",
    "marketpipe.storage.application.bar_handlers",
    "marketpipe.storage.infrastructure.partition_manager",
    "marketpipe.validation.application.bar_validator",
    "marketpipe.validation.infrastructure.columnar_validator",
    "marketpipe.validation.infrastructure.schema_validator",
]
"""Imported once by the process that workers are forked from. None of them may start a thread."""


@frozen
class RequestReport:
    """The events of one request in their order, without the bars; and the error that ended it early."""

    events: tuple[Event, ...]
    error: MarketPipeError | None = None


class WorkerPool:
    """Sends requests to worker processes, and publishes what happened to them. See ADR 0015.

    The processes start with the first request. One that dies fails its request, and the next request gets new ones.
    """

    def __init__(self, config: PipelineConfig, credentials: Credentials | None, bus: EventBus) -> None:
        refuse_while_a_worker_imports_the_script(PROCESSES)
        self._stopping, self._bus = RawValue("b", 0), bus
        keys = (str(credentials.key), str(credentials.secret)) if credentials else None
        self._new_executor: Callable[[], Executor] = lambda: ProcessPoolExecutor(
            config.workers, _context(), start, (config, keys, self._stopping)
        )
        self._executor: Executor | None = None
        self._lock = threading.Lock()

    def on_bars_requested(self, event: BarsRequested) -> None:
        publish_report(self._bus, self._carry_out(event.request))

    def stop(self) -> None:
        """Ask the workers to end after the symbol-days in progress."""
        self._stopping.value = 1

    def go(self) -> None:
        self._stopping.value = 0

    def close(self) -> None:
        self.stop()
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None

    def _carry_out(self, request: BarsRequest) -> RequestReport:
        with self._lock:
            executor = self._executor = self._executor or self._new_executor()
        try:
            return executor.submit(carry_out, request).result()
        except BrokenProcessPool as error:
            self._discard(executor)
            raise WorkerLostError(
                f"{request}: a worker process was killed, ran out of memory, or could not import the script. What it "
                "had stored stays. Run again, with fewer workers if memory is short; in a script, put what it does "
                "under 'if __name__ == \"__main__\":'"
            ) from error

    def _discard(self, executor: Executor) -> None:
        with self._lock:
            if self._executor is executor:  # another thread may have replaced it already
                self._executor = None
        executor.shutdown(wait=False)


def new_process_pool(parts: Parts) -> WorkerPool:
    config = parts.pipeline_config
    keys = needed_credentials(parts.credentials, config.root) if config.provider == "alpaca" else None
    return WorkerPool(config, keys, parts.bus)


def publish_report(bus: EventBus, report: RequestReport) -> None:
    """Publish all events that came before an error, then raise it: what was stored is to be recorded."""
    errors: list[MarketPipeError | None] = [_published(bus, each) for each in report.events]
    for error in (report.error, *errors):
        if error is not None:
            raise error


def _published(bus: EventBus, event: Event) -> IngestionInterrupted | None:
    """Return the request to stop that a handler raises: it has to wait until all that was stored is recorded."""
    try:
        bus.publish(event)
    except IngestionInterrupted as error:
        return error
    return None


def refuse_while_a_worker_imports_the_script(executor: str) -> None:
    """Raise ``ConfigurationError`` in a worker that is importing the parent's script.

    It would start the same ingestion, and wait for its own parent, which waits for it. multiprocessing marks such a
    process.
    """
    if getattr(current_process(), "_inheriting", False):
        raise ConfigurationError(
            f"executor: {executor} has each worker import the script it was started from. Put what the script does "
            "under 'if __name__ == \"__main__\":'"
        )


def _context() -> BaseContext:
    """Have workers forked from a process that has imported what they need, which lives as long as this one.

    They are never forked from this process: they would inherit locks that its threads hold.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_BEFORE_FORKING)
    # Ctrl-C reaches the fork server too, and would end it with a traceback before it can ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


# --- the worker's side


@define
class Worker:
    """The ring of one worker process. ``stopping`` is shared with the parent: 1 while workers are asked to stop."""

    parts: Parts
    stopping: Any
    _events: list[Event] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.parts.bus.observe(Event, self._note)
        subscribe_ring(self.parts, self._stop_if_asked, _leave_to_the_parent)
        derived.subscribe_aggregates_ahead(self.parts)

    def carry_out(self, request: BarsRequest) -> RequestReport:
        self._events.clear()
        try:
            self.parts.bus.publish(BarsRequested(request))
        except MarketPipeError as error:
            return RequestReport(tuple(self._events), error)
        return RequestReport(tuple(self._events))

    def _note(self, event: Event) -> None:
        if isinstance(event, BarsValidated):
            self._events.append(evolve(event, accepted=NO_BARS, rejected=NO_BARS))
        elif not isinstance(event, BarsRequested | BarsFetched):
            self._events.append(event)

    def _stop_if_asked(self, _: BarsStored) -> None:
        if self.stopping.value:
            raise IngestionInterrupted("stopped after the symbol-days that had been begun")


_worker: Worker


def start(config: PipelineConfig, keys: tuple[str, str] | None, stopping: Any) -> None:
    """Prepare this process. Ctrl-C and a closed terminal reach every process: only the parent acts on them."""
    global _worker
    for name in ("SIGINT", "SIGHUP"):  # Windows has no SIGHUP
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)
    share_one_arena()
    if ARROW_POOL not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())
    clock = SystemClock()
    if (parent := parent_process()) is not None:  # watched before anything slow is done
        threading.Thread(target=_watch, args=(parent.sentinel, stopping, clock), daemon=True).start()
    if not is_registered(config.provider):  # a provider that is not ours may make arrays of pandas objects
        keep_out_unneeded_imports()
    _worker = Worker(Parts(config, Credentials(*keys) if keys else None, clock), stopping)


def carry_out(request: BarsRequest) -> RequestReport:
    """Take one request from the provider to durable files. A plain function over records, for any executor."""
    return _worker.carry_out(request)


def _leave_to_the_parent(_: BarsExhausted) -> None:
    """The parent, which gets every event, records what the provider had nothing for."""


def _watch(parent: int, stopping: Any, clock: SystemClock) -> None:
    """Wake those who wait for the rate limit if asked to stop. End with the parent: nothing would be recorded."""
    while not wait([parent], SECONDS_BETWEEN_CHECKS):
        if stopping.value:
            clock.interrupt()
        else:
            clock.resume()
    os._exit(1)
