"""``executor: dask``: the connection to a cluster, one that is started for the run or one that exists."""

from __future__ import annotations

import logging
from asyncio import CancelledError as TaskCancelledError
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, field
from distributed import Client, KilledWorker, LocalCluster
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError
from distributed.security import Security
from distributed.utils import silence_logging_cmgr

from marketpipe.config import SCHEDULER_VARIABLE, PipelineConfig, is_loopback
from marketpipe.shared_kernel.domain.errors import ConfigurationError, MarketPipeError

SECONDS_TO_CONNECT: Final = 15
SECONDS_FOR_WORKERS: Final = 30
SECONDS_TO_RECONNECT: Final = 10
"""After a lost connection the work in flight is lost anyway: Dask does not send it again."""
LOST: Final = (CancelledError, TaskCancelledError, ClosedClientError, CommClosedError)


class OpenedClient(Client):  # type: ignore[misc]  # Dask has no types
    """A client that is closed at once if it cannot be opened.

    Dask would close it when it is collected as garbage. If that is while the same thread opens another client, it waits
    for itself for ever.
    """

    def __init__(self, *places: Any, **options: Any) -> None:
        with ExitStack() as undo:
            undo.callback(self.__del__)
            super().__init__(*places, **options)
            undo.pop_all()


def check_security(address: str, config: PipelineConfig, environment: Mapping[str, str]) -> None:
    """Raise ``ConfigurationError`` for a scheduler beyond this machine without encryption, unless it is meant.

    Whoever reaches the port of such a scheduler can run code on the workers, as the user who started them.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or is_loopback(parts.hostname or ""):
        return
    if config.insecure_scheduler and environment.get(SCHEDULER_VARIABLE, "").strip() == address:
        return
    raise ConfigurationError(
        f"scheduler: {address} is not encrypted: whoever reaches its port can run code on the workers, with their "
        "keys. Use tls:// with certificates, as docs/how-to/dask.md shows. If the network is yours alone, say so "
        f"twice: insecure_scheduler: true in the configuration, and {SCHEDULER_VARIABLE}={address} in the environment"
    )


@define(eq=False)
class DaskCluster:
    """A client of Dask, and what was started with it. ``close`` ends what was made here, and nothing else."""

    client: Any
    executor: Executor
    is_local: bool = False
    _to_close: tuple[Callable[[], None], ...] = field(default=(), repr=False)

    @property
    def address(self) -> str:
        return str(self.client.scheduler.address) if self.client.scheduler is not None else "of Dask"

    def set_up(self, name: str, plugin: Any) -> None:
        """Set up the present workers, and those that join later. Raises ``ConfigurationError`` of a worker."""
        try:
            self.client.wait_for_workers(1, timeout=SECONDS_FOR_WORKERS)
        except TimeoutError as error:
            raise ConfigurationError(
                f"scheduler: {self.address} has no workers: start some with 'dask worker {self.address} --nthreads 1'"
            ) from error
        try:
            self.client.register_plugin(plugin, name=name)
        except MarketPipeError:
            with suppress(*LOST, OSError, ValueError):
                self.client.unregister_worker_plugin(name)
            raise
        except ImportError as error:
            raise ConfigurationError(
                f"scheduler: {self.address}: a worker cannot import MarketPipe ({error}): install the same version"
            ) from error

    def take_down(self, name: str) -> None:
        with suppress(*LOST, OSError, ValueError):
            if self.client.status == "running":
                self.client.unregister_worker_plugin(name)

    def listen(self, topic: str, on_message: Callable[[Mapping[str, Any]], None]) -> None:
        """Call ``on_message`` with what workers tell under this topic, in order, on a thread of the client."""
        self.client.subscribe_topic(topic, lambda event: on_message(event[1]))

    def silence(self, topic: str) -> None:
        with suppress(*LOST, OSError, ValueError):
            if self.client.status == "running":
                self.client.unsubscribe_topic(topic)

    def submit(self, key: str, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Send a task. Its key is its name on the dashboard. Raises one of ``LOST``."""
        # pure: a batch that is asked again must not be answered by the result of the former time
        return self.executor.submit(function, *arguments, key=key, pure=False)

    def is_lost(self) -> bool:
        """Whether the connection to the scheduler has ended, and with it all that was sent there."""
        return str(self.client.status) in ("closed", "closing")

    def has_workers(self) -> bool:
        """Whether the scheduler has workers now. If it does not answer, True: ``is_lost`` tells soon if it is gone."""
        if self.is_lost():
            return False
        try:
            # not scheduler_info(): the client replaces what it keeps, every two seconds, by an answer without workers
            return bool(self.client.nthreads(callback_timeout=SECONDS_TO_RECONNECT))
        except (OSError, TimeoutError, AttributeError, RuntimeError):  # the last two if the client is closed meanwhile
            return True

    def killed(self, error: BaseException | None) -> bool:
        """Whether Dask gave a task up, because workers were killed while they carried it out."""
        return isinstance(error, KilledWorker)

    def close(self) -> None:
        for close in self._to_close:
            with suppress(*LOST, OSError, TimeoutError):
                close()


def connected(config: PipelineConfig, environment: Mapping[str, str]) -> DaskCluster:
    """Start a cluster of ``workers`` processes, or connect to the configured scheduler."""
    if config.scheduler is None:
        return _started(config.workers)
    check_security(config.scheduler, config, environment)
    return _connected_to(config.scheduler)


def cluster_of(executor: Executor, config: PipelineConfig, environment: Mapping[str, str]) -> DaskCluster:
    """Return the cluster of a Dask client's executor that was handed in; its client is not closed."""
    client = getattr(executor, "_client", None)
    if not isinstance(client, Client):
        raise ConfigurationError(
            f"new_executor: it made a {type(executor).__name__}, and executor: dask needs that of a Dask client: pass "
            "client.get_executor"
        )
    check_security(str(client.scheduler.address), config, environment)
    return DaskCluster(client, executor)


def _connected_to(address: str) -> DaskCluster:
    try:
        client = OpenedClient(address, timeout=SECONDS_TO_CONNECT, set_as_default=False, name="marketpipe")
    except (OSError, TimeoutError) as error:
        raise ConfigurationError(
            f"scheduler: {address} does not answer: {error}. Start it with 'dask scheduler', or leave the key "
            "out for a cluster on this machine"
        ) from error
    except (TypeError, RuntimeError, ValueError) as error:  # no certificates, or ones that cannot be used
        raise ConfigurationError(
            f"scheduler: {address} cannot be used: {error}. Dask's own settings name the certificates: "
            "docs/how-to/dask.md"
        ) from error
    client._timeout = SECONDS_TO_RECONNECT
    return DaskCluster(client, client.get_executor(pure=False), False, (partial(_close_quietly, client),))


def _close_quietly(client: Any) -> None:
    """Close it without the traceback that Dask logs if its scheduler is gone: the error that is raised tells that."""
    with silence_logging_cmgr(logging.CRITICAL):
        client.close()


def _started(workers: int) -> DaskCluster:
    """Start processes that nobody else can send code to: their certificates live in their memory alone."""
    security = Security.temporary()
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        protocol="tls://",
        security=security,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )
    client = OpenedClient(cluster, set_as_default=False, name="marketpipe")
    return DaskCluster(client, client.get_executor(pure=False), True, (client.close, cluster.close))
