"""``executor: dask``, the side of the run: the ring's first three steps on the workers of a Dask cluster.

It sends batches as ``worker_pool`` sends them to processes, and publishes what happened to them. See docs/adr/0050.
"""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, ExitStack, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, field

from marketpipe.config import DASK, PipelineConfig
from marketpipe.parts import CLUSTER, Parts, installed_version
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    EngineFailedError,
    IngestionInterrupted,
    StateError,
    StoreBusyError,
    WorkerLostError,
    count_of,
)
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    AttemptLost,
    BarsRequested,
    Event,
    JobStarted,
    RequestCompleted,
    RequestRetried,
)
from marketpipe.worker_pool import publish_report, refuse_while_a_worker_imports_the_script

from . import place_parts

if TYPE_CHECKING:
    from marketpipe.dask_worker import AttemptReport, RingPlugin

SECONDS_BETWEEN_CHECKS: Final = 0.5
SECONDS_TO_HOLD: Final = 30.0
MOST_LOST: Final = 5
"""A batch that was begun so often by a worker that was lost fails; the worker may have died of it."""
MOST_SENT: Final = 20
"""So often a batch is sent in all: its workers may die before they can tell that they have begun."""
RUNS: Final = 1_000
"""So many runs can use Dask over one store at the same time."""
LOST: Final = "the worker that asked was lost"
Lock = Callable[[int], AbstractContextManager[None]]


class Cluster(Protocol):
    """What the pool needs of Dask; ``DaskCluster`` is the adapter."""

    @property
    def address(self) -> str: ...

    @property
    def is_local(self) -> bool: ...

    def set_up(self, name: str, plugin: Any) -> None: ...

    def take_down(self, name: str) -> None: ...

    def listen(self, topic: str, on_message: Callable[[Mapping[str, Any]], None]) -> None: ...

    def silence(self, topic: str) -> None: ...

    def submit(self, key: str, function: Callable[..., Any], *arguments: object) -> Future[Any]: ...

    def is_lost(self) -> bool: ...

    def has_workers(self) -> bool: ...

    def killed(self, error: BaseException | None) -> bool: ...

    def close(self) -> None: ...


def new_dask_pool(parts: Parts) -> DaskPool:
    """Make the pool; nothing is connected before there is something to ask for. Raises ``ConfigurationError``."""
    if find_spec(CLUSTER) is None:
        raise ConfigurationError("executor: dask needs the package distributed: pip install 'marketpipe[dask]'")
    refuse_while_a_worker_imports_the_script(DASK)
    from . import dask_cluster, dask_worker

    config = parts.pipeline_config
    if config.scheduler:
        dask_cluster.check_security(config.scheduler, config, os.environ)

    def connect() -> Cluster:
        if (handed_in := parts.new_cluster) is not None:
            return dask_cluster.cluster_of(handed_in(), config, os.environ)
        return dask_cluster.connected(config, os.environ)

    def plugin(run: str, sign: int, *, is_local: bool) -> RingPlugin:
        sent = dask_worker.portable(config)
        at = dask_worker.sign_of(sign), dask_worker.StorePlaces.of(sent)
        return dask_worker.RingPlugin(run, sent, *at, installed_version("marketpipe"), is_local)

    def lock(number: int) -> AbstractContextManager[None]:
        return place_parts.store_lock(parts, dask_worker.sign_of(number), waits=False).acquired()

    return DaskPool(config, parts.bus, connect, plugin, GoingOn(lock))


class GoingOn:
    """Tells workers that they are to go on: a lock of the store that is held until ``let_go``.

    A thread of its own holds it, so that ``let_go`` is safe in a signal handler; the lock ends with the process.

    The lock has a number, and not the name of the run, because its file or row stays: so there are at most as many as
    runs at the same time. Another run may take a number before the workers of the former one see that it is free.
    These then carry out the batch that they have begun to its end; they get no other one.
    """

    def __init__(self, lock: Lock) -> None:
        """``lock`` returns the lock of a number, which refuses if another process has it."""
        self._lock, self._wanted, self._ended = lock, True, False
        self._number, self._held = 0, threading.Event()
        self._keeper: threading.Thread | None = None
        self._last_error: StateError | None = None

    def hold(self, longest_wait_seconds: float = SECONDS_TO_HOLD) -> int:
        """Return the number of the lock that is held from now on. It is the same at each call.

        Raises ``IngestionInterrupted`` after ``let_go``, and ``StateError``, with its cause, if no lock is held so many
        seconds later.
        """
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="marketpipe-going-on", daemon=True)
            self._keeper.start()
        if not self._wanted:
            raise IngestionInterrupted("stopped before the next batch")
        if not self._held.wait(longest_wait_seconds):
            cause = self._last_error
            raise StateError(
                f"Dask's workers cannot be told to go on: {cause or 'the state does not answer'}"
            ) from cause
        return self._number

    def let_go(self) -> None:
        self._wanted = False

    def go(self) -> None:
        self._wanted = True

    def end(self) -> None:
        self._ended, self._wanted = True, False
        if self._keeper is not None:
            self._keeper.join()

    def _keep(self) -> None:
        while not self._ended:
            for number in (self._number,) if self._number else range(1, RUNS):
                if not self._wanted or self._was_held(number):
                    break
            threading.Event().wait(SECONDS_BETWEEN_CHECKS / 10)

    def _was_held(self, number: int) -> bool:
        """Hold the lock of a number for as long as it is wanted. Return False if that of another one may be free.

        Once a number was held, no other one is tried: it is the one that the workers look at.
        """
        try:
            with self._lock(number):
                self._number, self._last_error = number, None
                self._held.set()
                while self._wanted:
                    threading.Event().wait(SECONDS_BETWEEN_CHECKS / 5)
                self._held.clear()
        except StateError as error:
            self._last_error = error
            return not isinstance(error, StoreBusyError)  # else another run has it, or a worker looks at it
        return True


@define
class _Attempts:
    """What workers have told of one batch, by attempt: an attempt whose worker is killed ends without a report."""

    told: dict[str, list[Event]] = field(factory=dict)

    def note(self, message: Mapping[str, Any]) -> None:
        events = self.told.setdefault(str(message["attempt"]), [])
        if "completed" in message:
            events.append(RequestCompleted(*message["completed"]))
        if "retried" in message:
            provider, attempt, wait_seconds = message["retried"]
            events.append(RequestRetried(provider, attempt, wait_seconds, LOST))


class DaskPool:
    """Sends batches to the workers of a Dask cluster, and publishes what happened to them.

    The cluster is connected as a job starts that has something to ask for; so an error of it ends the run, and no
    symbol-day fails for it.
    """

    def __init__(
        self,
        config: PipelineConfig,
        bus: EventBus,
        connect: Callable[[], Cluster],
        new_plugin: Callable[..., Any],
        going_on: GoingOn,
    ) -> None:
        self._config, self._bus, self._connect, self._new_plugin = config, bus, connect, new_plugin
        self._going_on, self._stopping = going_on, False
        self._run, self._numbers = uuid.uuid4().hex[:12], itertools.count(1)
        self._cluster: Cluster | None = None
        self._lock, self._attempts = threading.Lock(), dict[str, _Attempts]()
        bus.subscribe(JobStarted, self.on_job_started)

    def on_job_started(self, event: JobStarted) -> None:
        if event.batches and not self._stopping:
            self._started()

    def on_bars_requested(self, event: BarsRequested) -> None:
        request = event.request
        cluster = self._cluster or self._started()  # one whose scheduler is gone is left only as the next job starts
        self._going_on.hold()
        batch = f"{self._run}-{next(self._numbers)}"
        attempts = self._attempts[batch] = _Attempts()
        try:
            made = self._carried_out(cluster, batch, request)
        finally:
            del self._attempts[batch]
            self._publish_lost(request, attempts)
        publish_report(self._bus, made.report)

    def stop(self) -> None:
        """Ask the workers to end after the symbol-days in progress."""
        self._stopping = True
        self._going_on.let_go()

    def go(self) -> None:
        self._stopping = False
        self._going_on.go()

    def close(self) -> None:
        self.stop()
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.silence(self._topic)
            cluster.take_down(self._topic)
            cluster.close()
        self._going_on.end()

    @property
    def _topic(self) -> str:
        """The name of the plugin too."""
        return f"marketpipe-{self._run}"

    def _started(self) -> Cluster:
        with self._lock:
            if self._cluster is not None and not self._cluster.is_lost():
                return self._cluster
            sign = self._going_on.hold()
            if self._cluster is not None:  # of a former run, whose scheduler is gone
                self._cluster.close()
                self._cluster = None
            with ExitStack() as on_error:
                cluster = self._connect()
                on_error.callback(cluster.close)
                cluster.listen(self._topic, self._on_message)
                cluster.set_up(self._topic, self._new_plugin(self._run, sign, is_local=cluster.is_local))
                on_error.pop_all()
            self._cluster = cluster
            return cluster

    def _carried_out(self, cluster: Cluster, batch: str, request: BarsRequest) -> AttemptReport:
        """Send a batch until a worker reports of it.

        Dask gives up what was merely waiting on workers that were killed, too. What workers have told shows the truth.
        """
        attempts = self._attempts[batch]
        for number in range(MOST_SENT):
            made = self._sent(cluster, batch, number, request)
            if made is not None:
                attempts.told.pop(made.attempt, None)
                return made
            if len(attempts.told) >= MOST_LOST:
                break
        raise WorkerLostError(
            f"{request}: {count_of(len(attempts.told), 'worker')} of Dask were killed or ran out of memory while they "
            "carried it out. What they had stored stays. Run again, with smaller workers or more memory for each"
        )

    def _sent(self, cluster: Cluster, batch: str, number: int, request: BarsRequest) -> AttemptReport | None:
        """Return what became of the batch; None if its workers were lost."""
        from .dask_cluster import LOST as CONNECTION_LOST
        from .dask_worker import carry_out

        try:
            future = cluster.submit(f"marketpipe-batch-{batch}-{number}", carry_out, self._run, batch, request)
            while not future.done():
                with suppress(TimeoutError):
                    future.exception(SECONDS_BETWEEN_CHECKS)
                self._check(cluster, future)
            error = future.exception()
        except CONNECTION_LOST as lost:
            raise self._gone(cluster) from lost
        if isinstance(error, CancelledError):
            raise self._gone(cluster) from error
        if cluster.killed(error):
            return None
        made: AttemptReport = future.result()
        return made

    def _check(self, cluster: Cluster, future: Future[Any]) -> None:
        """Raise if nothing will come of the batch."""
        if future.done():
            return
        if cluster.is_lost():
            raise self._gone(cluster)
        if self._stopping and not cluster.has_workers():
            future.cancel()
            raise IngestionInterrupted("stopped while no worker was there to carry out the batch")

    def _gone(self, cluster: Cluster) -> EngineFailedError:
        return EngineFailedError(
            f"Dask's scheduler {cluster.address} is gone, or has cancelled the batches. What was stored stays: run "
            "again to continue, with a scheduler that runs"
        )

    def _on_message(self, message: Mapping[str, Any]) -> None:
        if (attempts := self._attempts.get(str(message["batch"]))) is not None:
            attempts.note(message)

    def _publish_lost(self, request: BarsRequest, attempts: _Attempts) -> None:
        """Publish what was told of the attempts that no worker reported of: their requests were sent, and count."""
        for events in attempts.told.values():
            for event in events:
                self._bus.publish(event)
            self._bus.publish(AttemptLost(request, sum(isinstance(event, RequestCompleted) for event in events)))
