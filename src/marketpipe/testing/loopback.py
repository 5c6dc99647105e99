"""A server on loopback: it answers as a test says, records each exchange, and fails on demand.

A ``Fault`` changes a response before it is sent, so one fault serves every protocol.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from attrs import evolve, field, frozen

POLL_SECONDS: Final = 0.01
FASTEST_GZIP: Final = 1


def _as_bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@frozen
class LoopbackRequest:
    """A GET request. ``headers`` have lower-case names; of a repeated parameter ``query`` has the last value."""

    path: str
    query: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict, repr=False)


@frozen
class Response:
    """What the server sends. A ``body`` that is not bytes is sent as JSON.

    ``cut_after``: close the connection after so many bytes of the body as it is sent, perhaps packed by gzip, although
    the headers promise all of it.
    ``dropped``: close the connection without a response. ``delay``: seconds to wait between the two halves of the body.
    """

    status: int = 200
    body: bytes = field(default=b"{}", converter=_as_bytes, repr=lambda body: f"<{len(body):,} bytes>")
    headers: Mapping[str, str] = field(factory=dict)
    cut_after: int | None = None
    dropped: bool = False
    delay: float = 0.0


Answer = Callable[[LoopbackRequest], Response]
"""What a scripted server is: it gives the response to a request. Several threads may call it at once."""
Fault = Callable[[Response], Response]
"""Changes the response that would have been sent."""


def server_error(status: int = 500) -> Fault:
    """Answer with an error of the server, such as 500 or 503."""
    return lambda _: Response(status, {"message": "internal server error"})


def rate_limited(retry_after: float) -> Fault:
    """Answer with 429 and the header ``Retry-After``, in seconds."""
    return lambda _: Response(429, {"message": "too many requests"}, {"Retry-After": f"{retry_after:g}"})


def dropped() -> Fault:
    """Close the connection without a response."""
    return lambda response: evolve(response, dropped=True)


def cut_body() -> Fault:
    """Close the connection after the first byte of the body."""
    return lambda response: evolve(response, cut_after=1)


def malformed_body() -> Fault:
    """Send a complete response whose body is only the first half of what it should be."""
    return lambda response: evolve(response, body=response.body[: len(response.body) // 2])


def slow_body(seconds: float) -> Fault:
    """Wait in the middle of the body."""
    return lambda response: evolve(response, delay=seconds)


@frozen
class RecordedExchange:
    """A request and the response that it got, faults included."""

    request: LoopbackRequest
    response: Response


class LoopbackServer:
    """A context manager: it serves from ``__enter__`` to ``__exit__``, on a port that the system chooses.

    ``exchanges`` has what was exchanged, in the order in which it was answered. An error in ``answer`` closes the
    connection and is raised by ``__exit__``.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer, self._lock = answer, threading.Lock()
        self._next_faults: deque[Fault | None] = deque()
        self._lasting_fault: Fault | None = None
        self._stopped = threading.Event()
        self.exchanges: list[RecordedExchange] = []
        self.errors: list[BaseException] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail_next(self, *faults: Fault | None) -> None:
        """Let the next requests fail, one fault each; None lets a request pass."""
        with self._lock:
            self._next_faults.extend(faults)

    def fail_always(self, fault: Fault | None) -> None:
        """Let every request fail that no fault of ``fail_next`` is left for; None ends that."""
        with self._lock:
            self._lasting_fault = fault

    def respond(self, request: LoopbackRequest) -> Response:
        """Return the response to a request, with the fault whose turn it is, and record both."""
        with self._lock:
            fault = self._next_faults.popleft() if self._next_faults else self._lasting_fault
        response = self._answer(request)
        if fault is not None:
            response = fault(response)
        with self._lock:
            self.exchanges.append(RecordedExchange(request, response))
        return response

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""
        self._stopped.wait(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self.errors:
            raise self.errors[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, loopback: LoopbackServer) -> None:
        super().__init__(("127.0.0.1", 0), _handler(loopback))
        self._errors = loopback.errors

    def handle_error(self, *_: object) -> None:
        """Keep the error, unless the client has only closed the connection first."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self._errors.append(error)


def _handler(server: LoopbackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            response = server.respond(
                LoopbackRequest(url.path, query, {name.lower(): value for name, value in self.headers.items()})
            )
            if response.dropped:
                self.close_connection = True
            else:
                self._send(response)

        def _send(self, response: Response) -> None:
            body, headers = self._packed(response)
            self.send_response_only(response.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if response.cut_after is not None:
                self.close_connection = True
                body = body[: response.cut_after]
            if response.delay:
                self.wfile.write(body[: len(body) // 2])
                server.pause(response.delay)
                body = body[len(body) // 2 :]
            self.wfile.write(body)

        def _packed(self, response: Response) -> tuple[bytes, Mapping[str, str]]:
            usual = {
                "Content-Type": "application/json",
                "Date": self.date_time_string(),
                "Server": self.version_string(),
            }
            headers = {**usual, **response.headers}
            if "gzip" not in self.headers.get("Accept-Encoding", "") or "Content-Encoding" in headers:
                return response.body, headers
            packed = gzip.compress(response.body, FASTEST_GZIP)
            return packed, {**headers, "Content-Encoding": "gzip"}

    return Handler
