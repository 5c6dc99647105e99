"""Serves the report page on loopback, with facts that are collected again while the store changes."""

from __future__ import annotations

import errno
import json
import logging
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

from marketpipe.report_page.page import rendered
from marketpipe.report_page.payload import Json
from marketpipe.shared_kernel.domain.errors import (
    AddressInUseError,
    ConfigurationError,
    MarketPipeError,
    ValidationError,
)

logger = logging.getLogger("marketpipe.report")

LOOPBACK: Final = "127.0.0.1"
HOSTS: Final = (LOOPBACK, "localhost")
LONGEST_SILENCE: Final = 30.0
TEXT, HTML, JSON = "text/plain; charset=utf-8", "text/html; charset=utf-8", "application/json"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class LiveStore(Protocol):
    """What the server shows, to several threads. Both may raise ``MarketPipeError``."""

    def payload(self) -> Json:
        """Return the facts as they are now. ``tag`` names their version: it stays while only ``made_at`` changes."""

    def bars(self, symbol: str, date: str) -> str | None:
        """Return the packed bars of a symbol-day; None if it has none."""


class ReportServer:
    """Serves the page of one store to browsers on this machine, until ``close``. Port 0 picks a free port.

    Requests that name another host are refused: a page of another site must not read the store through its own name
    for this address.
    """

    def __init__(self, store: LiveStore, port: int = 0, longest_silence: float = LONGEST_SILENCE) -> None:
        """A request may pause for ``longest_silence`` seconds, then its thread ends.

        Raise ``AddressInUseError``, or another ``ConfigurationError``, if it cannot listen on the port.
        """
        try:
            self._server = _Server((LOOPBACK, port), _handler(_Answers(store), longest_silence))
        except (OSError, OverflowError) as error:
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            message = f"--port: cannot listen on {LOOPBACK}:{port} ({error}); give another port, or 0 for a free one"
            raise AddressInUseError(message) if in_use else ConfigurationError(message) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="marketpipe-report", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the signature of its base
        """Log what went wrong with one request, which another of the browser repeats; print no traceback."""
        ended = isinstance(sys.exception(), ConnectionError)  # by a browser that was closed
        logger.log(logging.DEBUG if ended else logging.WARNING, "a request for the report failed", exc_info=True)


Answer = tuple[HTTPStatus, str, bytes]


class _Answers:
    """Answers requests, several at a time."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store

    def to(self, target: str, known: str | None) -> Answer:
        """Return the answer to a GET of ``target``; ``known`` is the version that the browser has."""
        try:
            place = urlsplit(target)
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, TEXT, f"{error}\n".encode("utf-8", "replace")
        query = parse_qs(place.query)
        try:
            if place.path == "/":
                return HTTPStatus.OK, HTML, rendered(self._store.payload()).encode()
            if place.path == "/facts":
                return self._facts(known)
            if place.path == "/bars":
                return self._bars(*(query.get(name, [""])[0] for name in ("symbol", "date")))
        except ValidationError as error:
            return HTTPStatus.BAD_REQUEST, TEXT, f"{error}\n".encode("utf-8", "replace")
        except MarketPipeError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{error}\n".encode()
        return HTTPStatus.NOT_FOUND, TEXT, b"there is no such page\n"

    def _facts(self, known: str | None) -> Answer:
        content = self._store.payload()
        if content["tag"] == known:
            content = {name: content[name] for name in ("tag", "made_at")}
        return HTTPStatus.OK, JSON, json.dumps(content).encode()

    def _bars(self, symbol: str, date: str) -> Answer:
        found = self._store.bars(symbol, date)
        if found is None:
            return HTTPStatus.NOT_FOUND, TEXT, b"no bars are stored for this symbol-day\n"
        return HTTPStatus.OK, TEXT, found.encode()


def _handler(answers: _Answers, longest_silence: float) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = longest_silence

        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").lower()
            if host.rpartition(":")[0] in HOSTS or host in HOSTS:
                self._send(*answers.to(self.path, self.headers.get("If-None-Match")))
            else:
                self._send(HTTPStatus.FORBIDDEN, TEXT, b"this page is served to this machine only\n")

        do_HEAD = do_GET

        def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing: the command prints its own lines."""

    return Handler
