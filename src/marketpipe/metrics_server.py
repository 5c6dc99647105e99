"""The HTTP server from which Prometheus scrapes metrics."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType

from prometheus_client import CollectorRegistry, start_http_server

from marketpipe.shared_kernel.domain.errors import AddressInUseError, ConfigurationError
from marketpipe.shared_kernel.events import Event, MetricsNotServed, MetricsServed


class MetricsServer:
    """Serves the metrics of a registry over HTTP on a thread of its own, until ``close``.

    It listens on loopback by default. Port 0 picks a free port.
    """

    def __init__(self, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 8000) -> None:
        """Raise ``AddressInUseError``, or another ``ConfigurationError``, if it cannot listen on the address."""
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
            self._process = os.getpid()
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            advice = "set another metrics.port, or 0 for a free one" if in_use else "correct metrics.host, metrics.port"
            message = f"metrics: cannot listen on {host}:{port} ({error.strerror}); {advice}"
            raise AddressInUseError(message) if in_use else ConfigurationError(message) from error

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/metrics"

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if os.getpid() != self._process:
            return  # a forked child has no thread that serves, and would wait for its end for ever
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def metrics_served(
    registry: CollectorRegistry, host: str, port: int, publish: Callable[[Event], None]
) -> Iterator[tuple[str, ...]]:
    """Serve the metrics of a run inside a ``with``. Yields what its report should say about that.

    A run whose port is taken, such as by a second ingestion of the same store, goes on without: its bars matter more.
    Raises ``ConfigurationError`` for an address that cannot be one of this machine.
    """
    server: MetricsServer | None = None
    try:
        server = MetricsServer(registry, host, port)
        publish(MetricsServed(server.address))
        notices = () if port else (f"metrics were served at {server.address}",)
    except AddressInUseError as error:
        publish(MetricsNotServed(str(error)))
        notices = (f"no metrics were served: {error}",)
    with server or nullcontext():
        yield notices
