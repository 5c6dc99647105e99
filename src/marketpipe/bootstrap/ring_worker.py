"""What runs in a worker process: the same ring, from a request to durable files. Checkpoints are not made here."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any

import pyarrow as pa
from attrs import define, evolve, field, frozen

from marketpipe.bootstrap.lean_arrow import leave_pandas_out
from marketpipe.bootstrap.worker_parts import WorkerParts
from marketpipe.config import Credentials, PipelineConfig
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, MarketPipeError
from marketpipe.shared_kernel.events import BarsFetched, BarsRequested, BarsStored, BarsValidated, Event
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars

LOOK_UP_SECONDS = 0.1
NO_BARS = ArrowBars(pa.Table.from_batches([], BAR_SCHEMA), ())


@frozen
class RingReport:
    """All that happened to one request, in order, without the bars; and what ended it before its time."""

    events: tuple[Event, ...]
    error: MarketPipeError | None = None


@define
class RingWorker:
    """``stopping`` is shared with the parent process: it holds a one where workers are asked to stop."""

    parts: WorkerParts
    stopping: Any
    _events: list[Event] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.parts.bus.observe(Event, self._note)
        self.parts.subscribe_worker_ring()
        self.parts.bus.subscribe(BarsStored, self._stop_where_asked)
        if (parent := parent_process()) is not None:
            threading.Thread(target=self._watch, args=(parent.sentinel,), daemon=True).start()

    def carry_out(self, request: BarsRequest) -> RingReport:
        self._events.clear()
        try:
            self.parts.bus.publish(BarsRequested(request))
        except MarketPipeError as error:
            return RingReport(tuple(self._events), error)
        return RingReport(tuple(self._events))

    def _note(self, event: Event) -> None:
        if isinstance(event, BarsValidated):
            self._events.append(evolve(event, accepted=NO_BARS, rejected=NO_BARS))
        elif not isinstance(event, BarsRequested | BarsFetched):
            self._events.append(event)

    def _stop_where_asked(self, _: BarsStored) -> None:
        if self.stopping.value:
            raise IngestionInterrupted("stopped after the symbol-days in hand")

    def _watch(self, parent: int) -> None:
        """Wakes who waits for the rate limit, and does not outlive the parent: nobody would record what is stored."""
        while not wait([parent], LOOK_UP_SECONDS):
            if self.stopping.value:
                self.parts.clock.interrupt()
            else:
                self.parts.clock.resume()
        os._exit(1)


_worker: RingWorker


def start(config: PipelineConfig, keys: tuple[str, str] | None, stopping: Any) -> None:
    """Once in each process. Ctrl-C reaches every process of a terminal: there the parent answers it alone."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_pandas_out()
    _worker = RingWorker(WorkerParts(config, Credentials(*keys) if keys else None), stopping)


def carry_out(request: BarsRequest) -> RingReport:
    """A plain function over plain records, for whatever executor there is."""
    return _worker.carry_out(request)
