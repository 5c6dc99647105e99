"""The HTTP server from which Prometheus scrapes metrics, and which says whether a store is ready.

/metrics   the metrics; so does every other path
/healthz   200 while the process serves
/readyz    200 if the store is as fresh and as complete as configured, else 503, with the reasons as JSON

On loopback a request that names another host gets 403: a page of another site must not read the metrics through its
own name for this address.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from attrs import frozen
from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server
from prometheus_client.core import Metric

from marketpipe.shared_kernel.domain.errors import AddressInUseError, ConfigurationError, MarketPipeError
from marketpipe.shared_kernel.events import Event, MetricsNotServed, MetricsServed

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HEALTH, READINESS = "/healthz", "/readyz"
OK, NOT_FOUND, NOT_ALLOWED = "200 OK", "404 Not Found", "405 Method Not Allowed"
FORBIDDEN, NOT_READY = "403 Forbidden", "503 Service Unavailable"
LOCALHOST = "localhost"


ReadReadiness = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Returns whether the store is ready, and what /readyz answers beside that."""


class MetricsServer:
    """Serves the metrics of a registry over HTTP on a thread of its own, until ``close``.

    It listens on loopback by default. Port 0 picks a free port.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str = "127.0.0.1",
        port: int = 8000,
        readiness: ReadReadiness | None = None,
    ) -> None:
        """``readiness`` is called for each request of /readyz; without it there is no store to be ready.

        Raises ``AddressInUseError``, or another ``ConfigurationError``, if it cannot listen on the address.
        """
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
            self._process = os.getpid()
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            advice = "set another metrics.port, or 0 for a free one" if in_use else "correct metrics.host, metrics.port"
            message = f"metrics: cannot listen on {host}:{port} ({error.strerror}); {advice}"
            raise AddressInUseError(message) if in_use else ConfigurationError(message) from error
        answer = _with_health(_metrics_of(registry), readiness)
        bound = str(self._server.server_address[0])
        self._server.set_app(_for_this_machine(answer) if _is_loopback(bound) else answer)

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


def _for_this_machine(answer: WSGIApplication) -> WSGIApplication:
    """Refuse requests that name another host. A request that names none is not that of a browser."""

    def checked(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if _is_loopback(_host_of(environment)):
            return answer(environment, start)
        start(FORBIDDEN, [("Content-Type", "text/plain; charset=utf-8")])
        return [b"these metrics are served to this machine only\n"]

    return checked


def _host_of(environment: WSGIEnvironment) -> str:
    try:
        return urlsplit(f"//{environment.get('HTTP_HOST', LOCALHOST)}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == LOCALHOST or ip_address(host).is_loopback
    except ValueError:
        return False


@frozen
class _Named:
    """Collects the series of these names only. A registry can do that for collectors which state their names before."""

    registry: CollectorRegistry
    names: frozenset[str]

    def collect(self) -> Iterator[Metric]:
        for family in self.registry.collect():
            part = Metric(family.name, family.documentation, family.type)
            part.samples = [sample for sample in family.samples if {family.name, sample.name} & self.names]
            if part.samples:
                yield part


def _metrics_of(registry: CollectorRegistry) -> WSGIApplication:
    everything = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        names = parse_qs(environment.get("QUERY_STRING", "")).get("name[]")
        if names is None:
            return cast("Iterable[bytes]", everything(environment, start))
        named = make_wsgi_app(cast("CollectorRegistry", _Named(registry, frozenset(names))))
        return cast("Iterable[bytes]", named({**environment, "QUERY_STRING": ""}, start))

    return answer


def _with_health(metrics: WSGIApplication, readiness: ReadReadiness | None) -> WSGIApplication:
    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment.get("PATH_INFO")
        if path == HEALTH:
            return _answer_json(environment, start, OK, {"status": "ok"})
        if path == READINESS:
            return _answer_json(environment, start, *_readiness(readiness))
        return metrics(environment, start)

    return answer


def _readiness(read: ReadReadiness | None) -> tuple[str, dict[str, Any]]:
    if read is None:
        return NOT_FOUND, {"error": "this server shows the metrics of a registry, and knows no store"}
    try:
        is_ready, found = read()
    except MarketPipeError as error:  # such as that of a store which is closed by now
        is_ready, found = False, {"reasons": [{"check": "readable", "message": str(error)}]}
    return OK if is_ready else NOT_READY, {"ready": is_ready, **found}


def _answer_json(
    environment: WSGIEnvironment, start: StartResponse, status: str, content: dict[str, Any]
) -> Iterable[bytes]:
    if environment.get("REQUEST_METHOD") != "GET":
        start(NOT_ALLOWED, [("Allow", "GET")])
        return [b""]
    body = json.dumps(content, default=str).encode() + b"\n"
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def metrics_served(
    registry: CollectorRegistry,
    host: str,
    port: int,
    publish: Callable[[Event], None],
    readiness: ReadReadiness | None = None,
) -> Iterator[tuple[str, ...]]:
    """Serve the metrics of a run inside a ``with``. Yields what its report should say about that.

    A run whose port is taken, such as by a second ingestion of the same store, goes on without: its bars matter more.
    Raises ``ConfigurationError`` for an address that cannot be one of this machine.
    """
    server: MetricsServer | None = None
    try:
        server = MetricsServer(registry, host, port, readiness)
        publish(MetricsServed(server.address))
        notices = () if port else (f"metrics were served at {server.address}",)
    except AddressInUseError as error:
        publish(MetricsNotServed(str(error)))
        notices = (f"no metrics were served: {error}",)
    with server or nullcontext():
        yield notices
