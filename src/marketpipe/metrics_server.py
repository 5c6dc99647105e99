"""The HTTP server from which Prometheus scrapes metrics."""

from __future__ import annotations

import os
from types import TracebackType

from prometheus_client import CollectorRegistry, start_http_server

from marketpipe.shared_kernel.domain.errors import ConfigurationError


class MetricsServer:
    """Serves the metrics of a registry over HTTP on a thread of its own, until ``close``.

    It listens on loopback by default. Port 0 picks a free port.
    """

    def __init__(self, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 8000) -> None:
        """Raise ``ConfigurationError`` if it cannot listen on the address."""
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
            self._process = os.getpid()
        except OSError as error:
            raise ConfigurationError(
                f"metrics: cannot listen on {host}:{port} ({error.strerror}); set another metrics.port"
            ) from error

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
