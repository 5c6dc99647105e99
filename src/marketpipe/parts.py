"""``Parts``: what a pipeline was given, and what has been made for it: each thing once, closed in reverse order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from attrs import define, evolve, field

from marketpipe.config import DASK, POSTGRESQL, S3, Credentials, PipelineConfig, StoreConfig, scheme_of, url_of
from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.observers import Isolation
from marketpipe.provider_registry import check_keys, check_provider, with_capabilities
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsRequested
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.threads import ALock
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.validation.domain.business_rules import RuleBook

if TYPE_CHECKING:
    from marketpipe.ingestion.application.batch_runner import Stoppable

NEEDED_PACKAGES = {S3: ("obstore", "s3"), POSTGRESQL: ("psycopg", "postgres")}
"""What a place that is on no disk needs, and the extra that has it."""
SYNCING_THREADS = 8
"""Files synced at once. These threads wait for the disk nearly all of the time."""
P = ParamSpec("P")
T = TypeVar("T")


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class WorkerProcesses(Closable, Protocol):
    """Carries out requests in other processes. It is handed in: the module that makes it imports composition."""

    def on_bars_requested(self, event: BarsRequested) -> None: ...

    def stop(self) -> None: ...

    def go(self) -> None: ...


NewWorkerPool = Callable[["Parts"], WorkerProcesses]
NewExecutor = Callable[[], Executor]
CLUSTER: Final = "distributed"
"""The package of Dask's cluster. It is known by its name, and imported only if it is used."""


def check_platform(name: str) -> None:
    """Raise ``ConfigurationError`` on a system whose files cannot be locked and synced as those of a store must be.

    ``name`` is that of ``sys.platform``.
    """
    if name in ("win32", "cygwin", "emscripten", "wasi"):
        raise ConfigurationError(
            f"MarketPipe does not run on {name}: it needs the file locks and durable renames of POSIX. "
            "It runs on Linux and macOS; on Windows, run it inside WSL 2, with the store in the file system of Linux"
        )


def check_packages(config: StoreConfig, is_installed: Callable[[str], bool] | None = None) -> None:
    """Raise ``ConfigurationError`` if a place of the store needs a package that is absent, before anything is made."""
    for key in ("output_path", "state_path"):
        scheme = scheme_of(place := getattr(config, key))
        if scheme is None:
            continue
        package, extra = NEEDED_PACKAGES[scheme]
        if not (is_installed or _is_installed)(package):
            raise ConfigurationError(
                f"{key} {url_of(place)} needs the package {package}: pip install 'marketpipe[{extra}]'"
            )


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec  # here, because few stores need it

    return find_spec(package) is not None


def installed_version(package: str) -> str:
    from importlib.metadata import version  # here, because few processes need it, and it reads mail headers

    return version(package)


def _or_system_clock(clock: Clock | None) -> Clock:
    return SystemClock() if clock is None else clock


@define(eq=False)
class Parts:
    """The inputs of one pipeline, and the things that functions under ``@once`` have made for it.

    Two pipelines share nothing. ``config`` may be a ``StoreConfig`` if nothing is to be ingested;
    ``market_data_provider`` replaces the one that the configuration names. Raises ``ConfigurationError`` for a provider
    or a validation rule that does not exist. Threads that ask for a thing at the same time get the same one.
    ``machine`` is the computer that all of it runs on. ``new_object_store`` makes an ``ObjectStore`` for the URL of a
    store in a bucket; without it, that is the bucket.
    """

    config: StoreConfig
    credentials: Credentials | None = field(default=None, repr=False)
    clock: Clock = field(default=None, converter=_or_system_clock)
    new_executor: NewExecutor | None = None
    market_data_provider: MarketDataProvider | None = field(default=None, converter=with_capabilities)
    new_worker_pool: NewWorkerPool | None = None
    new_cluster: NewExecutor | None = None
    """Makes the executor of a cluster of worker processes, if one was handed in; ``new_executor`` has the others."""
    new_object_store: Callable[[str], Any] | None = None
    isolation: Isolation = field(init=False, factory=Isolation, repr=False)
    bus: EventBus = field(kw_only=True)
    machine: Machine = field(default=HERE, kw_only=True, repr=False)
    syncing: Executor = field(init=False)
    _made: dict[tuple[object, ...], Any] = field(init=False, factory=dict, repr=False)
    _making: ALock = field(init=False, repr=False)
    _stopped: bool = field(init=False, default=False)
    _to_stop: list[Stoppable] = field(init=False, factory=list, repr=False)
    _to_close: ExitStack = field(init=False, factory=ExitStack, repr=False)

    @bus.default
    def _new_bus(self) -> EventBus:
        return EventBus(self.isolation)

    @syncing.default
    def _new_syncing(self) -> Executor:
        return self.machine.threads.executor(SYNCING_THREADS, "marketpipe-sync")

    @_making.default
    def _new_making(self) -> ALock:
        return self.machine.threads.reentrant_lock()

    def __attrs_post_init__(self) -> None:
        if isinstance(self.config, PipelineConfig) and self.market_data_provider is None:
            check_provider(self.config.provider)
        RuleBook.with_severities(self.config.validation.severities)
        if self.new_object_store is None:
            check_packages(self.config)
        self._on_close(self.syncing.shutdown)  # registered first: files may have to be synced to the very end

    @property
    def pipeline_config(self) -> PipelineConfig:
        """Return the configuration for work that needs a provider. Raises ``ConfigurationError`` if there is none."""
        if not isinstance(self.config, PipelineConfig):
            raise ConfigurationError(
                "this needs a provider: give a configuration with provider, symbols, start and end. 'marketpipe init' "
                "writes marketpipe.yaml, and --config names another file"
            )
        return self.config

    def check_keys(self) -> None:
        """Raise ``ConfigurationError`` if the configured provider has no keys, before it is made."""
        if self.market_data_provider is None:
            check_keys(self.pipeline_config, self.credentials)

    def executor_factory(self, workers: int, name: str) -> NewExecutor:
        """Return what makes the executor that was handed in, or else one of so many threads."""
        given = self.new_executor
        return partial(self.machine.threads.executor, workers, name) if given is None else partial(_in_process, given)

    def get(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return what was made under this key, or make it now."""
        made: T
        with suppress(KeyError):
            made = self._made[key]
            return made
        with self._making:
            if key not in self._made:
                self._made[key] = make()
            made = self._made[key]
        return made

    def forget(self, function: Callable[..., object], *arguments: object) -> None:
        """Let a function under ``@once`` make its thing anew. The former one may be in use, and ``close`` closes it."""
        with self._making:
            self._made.pop((function.__name__, *arguments), None)

    def has(self, function: Callable[..., object], *arguments: object) -> bool:
        """Return whether a function under ``@once`` has made its thing for these arguments."""
        return (function.__name__, *arguments) in self._made

    def closing(self, thing: C) -> C:
        """Return the thing, which ``close`` closes from now on. To be called by the function that makes it."""
        self._on_close(thing.close)
        return thing

    def stopping(self, thing: Stoppable) -> None:
        """Register what ``stop`` stops; it is stopped now if ``stop`` came before it was made."""
        self._to_stop.append(thing)
        if self._stopped:
            thing.stop()

    @contextmanager
    def stopping_meanwhile(self, thing: Stoppable) -> Iterator[None]:
        """Let ``stop`` stop the thing too, inside a ``with``."""
        self.stopping(thing)
        try:
            yield
        finally:
            self._to_stop.remove(thing)

    @property
    def is_stopped(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        """Ask everything that runs, or is still to be made, to end soon, until ``go``.

        Safe to call from any thread, and before anything was made.
        """
        self._stopped = True
        for thing in list(self._to_stop):
            thing.stop()

    def go(self) -> None:
        """Let runs begin again after ``stop``."""
        self._stopped = False
        for thing in self._to_stop:
            thing.go()

    def close(self) -> None:
        """Close what was made, the latest first. If one fails, the others are closed all the same.

        A forked child closes only what it has made itself: it shares files, locks and connections with its parent.
        """
        self._to_close.close()

    def _on_close(self, close: Callable[[], None]) -> None:
        self._to_close.callback(_call_in, os.getpid(), close)


def is_of_a_cluster(new_executor: NewExecutor | None) -> bool:
    """Return whether this is ``get_executor`` of a Dask client, with arguments or without."""
    client = getattr(getattr(new_executor, "func", new_executor), "__self__", None)
    return type(client).__module__.partition(".")[0] == CLUSTER


def with_cluster(config: StoreConfig, new_executor: NewExecutor | None) -> StoreConfig:
    """Return the configuration, with executor: dask if ``new_executor`` is of a Dask client."""
    if isinstance(config, PipelineConfig) and config.executor != DASK and is_of_a_cluster(new_executor):
        return evolve(config, executor=DASK)
    return config


def _in_process(new_executor: NewExecutor) -> Executor:
    made = new_executor()
    if type(made).__module__.partition(".")[0] == CLUSTER:
        raise ConfigurationError(
            "new_executor: it made an executor of Dask. Pass client.get_executor itself, or configure executor: dask"
        )
    return made


def _call_in(process: int, close: Callable[[], None]) -> None:
    if os.getpid() == process:
        close()


def once(make: Callable[Concatenate[Parts, P], T]) -> Callable[Concatenate[Parts, P], T]:
    """Make one thing for each combination of the other arguments, and return the same thing afterwards."""

    def made(parts: Parts, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return parts.get((make.__name__, *args, *kwargs.values()), lambda: make(parts, *args, **kwargs))

    update_wrapper(made, make)
    return made
