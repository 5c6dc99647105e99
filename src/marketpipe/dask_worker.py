"""``executor: dask``, the worker's side: a plugin gives each worker process a ring, and ``carry_out`` uses it.

What is sent to a worker is the configuration, which has no keys: a worker reads them from its own environment, or from
``.env`` in the configured root. A worker is used only if it runs one task at a time and sees the store that the run
began with. See docs/adr/0050.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from attrs import define, evolve, field, frozen
from distributed import WorkerPlugin, get_worker

from marketpipe.config import PipelineConfig, is_on_disk
from marketpipe.memory_arenas import share_one_arena
from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    EngineFailedError,
    IngestionInterrupted,
    MarketPipeError,
    StateError,
    StoreBusyError,
)
from marketpipe.shared_kernel.events import RequestCompleted, RequestRetried
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.worker_pool import RequestReport, Worker

from . import composition, place_parts, store_locks

logger = logging.getLogger("marketpipe.ingestion")
Message = Mapping[str, Any]
SECONDS_BETWEEN_CHECKS: Final = 0.5
"""How often a worker that carries out a batch looks whether it is asked to stop."""
LOCAL_STOP_SIGNALS: Final = ("SIGINT", "SIGHUP")


def sign_of(run: int) -> str:
    """Return the purpose of the lock that a run holds while its workers are to go on. See ``GoingOn``."""
    return f"{store_locks.DASK}-{run}"


@frozen
class StorePlaces:
    """The store that a run began with: on another machine the same path may be another folder.

    ``files`` are inodes by path; that of the state file has the number of its device, because it is on one machine.
    """

    files: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, config: PipelineConfig) -> StorePlaces:
        """Look at the present store. Its state exists by now; the folder of its bars is made. Raises ``StateError``."""
        found = dict[str, tuple[int, ...]]()
        try:
            if is_on_disk(config.state_path):
                found[str(config.state_path)] = _identity(config.state_path, is_shared=False)
            if is_on_disk(config.output_path):
                config.output_path.mkdir(parents=True, exist_ok=True)
                found[str(config.output_path)] = _identity(config.output_path, is_shared=True)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be read: {error.strerror}") from error
        return cls(found)

    def check(self) -> None:
        """Raise ``ConfigurationError`` on a machine that has another store at these paths, or none."""
        for path, expected in self.files.items():
            try:
                found = _identity(Path(path), is_shared=len(expected) == 1)
            except OSError:
                found = ()
            if found != expected:
                raise ConfigurationError(
                    f"it does not see this store: {path} is not there, or is another one. Workers on other machines "
                    "need an output_path that all machines share, such as s3://…, and a state in PostgreSQL"
                )


def _identity(path: Path, *, is_shared: bool) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_ino,) if is_shared else (found.st_dev, found.st_ino)


def portable(config: PipelineConfig) -> PipelineConfig:
    """Return the configuration with paths that do not depend on the current folder."""
    return evolve(config, root=config.root.absolute(), read_from=None)


@frozen
class AttemptReport:
    """What became of a batch in one attempt; an attempt whose worker was killed has none."""

    attempt: str
    report: RequestReport


@frozen(eq=False)
class RingPlugin(WorkerPlugin):  # type: ignore[misc]
    """Gives each worker of a cluster a ring for one run. Dask sends it to those that join later, too."""

    run: str
    config: PipelineConfig
    sign: str
    places: StorePlaces
    version: str
    is_local: bool = False
    """Whether the cluster was started for this run: its processes get the signals of the terminal."""

    def setup(self, worker: Any) -> None:
        """Raise ``ConfigurationError``, which names the worker, if it cannot be used."""
        try:
            _RINGS[self.run] = self._ring(worker)
        except MarketPipeError as error:
            fault = f"Dask's worker {worker.name} at {worker.address} cannot be used: {error}"
            _UNFIT[self.run] = fault
            raise ConfigurationError(fault) from error

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - the interface is Dask's
        _UNFIT.pop(self.run, None)
        if (ring := _RINGS.pop(self.run, None)) is not None:
            threading.Thread(target=ring.close, name="marketpipe-close").start()  # a batch may still end on it

    def _ring(self, worker: Any) -> Ring:
        _check_process(worker, self.version)
        _without_profiler(worker)
        self.places.check()
        if self.is_local and threading.current_thread() is threading.main_thread():
            for name in LOCAL_STOP_SIGNALS:
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        share_one_arena()
        if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
            pa.set_memory_pool(pa.system_memory_pool())
        parts = Parts(self.config, None, SystemClock())
        composition.provider(parts)  # with the keys of this process, or an error that says where they are missing
        place_parts.see_bucket(parts)  # a worker that fails each batch at once would take most of them
        return Ring(parts, self.sign, partial(worker.log_event, topic_of(self.run)))


def topic_of(run: str) -> str:
    """Return the topic of Dask under which workers tell the run at once what they do."""
    return f"marketpipe-{run}"


def _without_profiler(worker: Any) -> None:
    """Stop Dask's profiler, which looks at all threads a hundred times a second.

    Python 3.11 may hang for ever if another thread begins meanwhile (github.com/python/cpython/issues/106883), and each
    batch begins some. Dask itself does not profile its event loops there for that reason.
    """
    if sys.version_info[:2] == (3, 11):
        for name in ("profile", "profile-cycle"):
            if (callback := worker.periodic_callbacks.pop(name, None)) is not None:
                callback.stop()


def _check_process(worker: Any, wanted: str) -> None:
    if worker.state.nthreads != 1:
        raise ConfigurationError(
            f"it runs {worker.state.nthreads} tasks at the same time, and a ring is for one: start workers with "
            "--nthreads 1, and as many processes as before threads (--nworkers)"
        )
    if str(worker.address).startswith("inproc:"):
        raise ConfigurationError("it is in the process of the client: start a cluster with processes=True")
    if (found := version("marketpipe")) != wanted:
        raise ConfigurationError(f"it has MarketPipe {found}, and the run {wanted}: install the same version")
    if sys.platform == "win32":
        raise ConfigurationError("MarketPipe does not run on Windows")


@define(eq=False)
class Ring:
    """The ring of one worker process for one run. ``tell`` sends a message to the run, at once.

    The run holds a lock of the store while its workers are to go on; so they notice that it was stopped, or that its
    process is gone, even if Dask's scheduler is gone too.
    """

    parts: Parts
    sign: str
    tell: Callable[[Message], None]
    _worker: Worker = field(init=False)
    _one_at_a_time: threading.Lock = field(init=False, factory=threading.Lock)
    _task: dict[str, str] = field(init=False, factory=dict)
    value: int = field(init=False, default=0)
    """1 while the ring is asked to stop, as in the shared memory of worker processes."""

    def __attrs_post_init__(self) -> None:
        self._worker = Worker(self.parts, self)
        self.parts.bus.observe(RequestCompleted, self._on_request)
        self.parts.bus.observe(RequestRetried, self._on_retry)

    def carry_out(self, batch: str, request: BarsRequest) -> AttemptReport:
        with self._one_at_a_time:
            self._task = {"batch": batch, "attempt": uuid.uuid4().hex}
            self.tell(self._task)
            with self._watched():
                return AttemptReport(self._task["attempt"], self._report(request))

    def close(self) -> None:
        self.parts.clock.interrupt()
        with self._one_at_a_time:
            self.parts.close()

    def _report(self, request: BarsRequest) -> RequestReport:
        if self.value:
            return RequestReport((), IngestionInterrupted("stopped before this batch was begun"))
        return self._worker.carry_out(request)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Look from time to time whether the run goes on: before the batch, and while it is carried out."""
        done = threading.Event()
        self.value = int(self._is_stopped())
        self.parts.clock.resume()
        watch = threading.Thread(target=self._watch, args=(done,), name="marketpipe-watch", daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(SECONDS_BETWEEN_CHECKS):
            if self._is_stopped():
                self.value = 1
                self.parts.clock.interrupt()  # those who wait for the rate limit

    def _is_stopped(self) -> bool:
        try:
            with place_parts.store_lock(self.parts, self.sign, waits=False).acquired():
                return True
        except StoreBusyError:
            return False
        except StateError as error:  # a batch that cannot reach the state fails when it stores
            logger.warning("it cannot be told whether the run goes on: %s", error)
            return False

    def _on_request(self, event: RequestCompleted) -> None:
        completed = [event.provider, event.seconds, event.bars, event.error_kind, event.rate_limit_remaining]
        self.tell({**self._task, "completed": completed})

    def _on_retry(self, event: RequestRetried) -> None:
        self.tell({**self._task, "retried": [event.provider, event.attempt, event.wait_seconds]})


_RINGS: Final = dict[str, Ring]()
_UNFIT: Final = dict[str, str]()
"""Why this process cannot be used, by run."""


def carry_out(run: str, batch: str, request: BarsRequest) -> AttemptReport:
    """Take one request from the provider to durable files, on the ring that the plugin has set up in this process."""
    if (ring := _RINGS.get(run)) is not None:
        return ring.carry_out(batch, request)
    why = _UNFIT.get(run) or f"Dask's worker at {get_worker().address} was not set up: its scheduler began anew"
    return AttemptReport("", RequestReport((), EngineFailedError(f"{why}. Run again to continue")))
