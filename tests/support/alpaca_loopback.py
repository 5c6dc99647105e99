"""A server on loopback with Alpaca's protocol; it serves the bars that a test provides."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from attrs import define, field

NEW_YORK = ZoneInfo("America/New_York")
Record = dict[str, Any]
"""One bar with Alpaca's field names: t, o, h, l, c, v, n, vw."""
Bars = dict[str, list[Record]]
"""Bars by symbol."""


@define
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(factory=dict)
    cut_after: int | None = None
    """Close the connection after that many bytes of the body."""
    dropped: bool = False
    """Close the connection without a response."""


Fault = Callable[[int, Mapping[str, str]], Reply | None]
"""Called with the number of the request (from 0) and its query. Returns None if the request shall succeed."""


def record(timestamp: str, price: float = 100.0, **changes: Any) -> Record:
    bar = {
        "t": timestamp,
        "o": price,
        "h": price + 1,
        "l": price - 1,
        "c": price + 0.5,
        "v": 1000,
        "n": 10,
        "vw": price,
    }
    return {**bar, **changes}


class AlpacaLoopback:
    """A context manager. ``requests`` has every query for minutes, ``headers`` the headers of each.

    ``page_size`` and ``fault`` may be changed between requests. Official days are made from the minutes, or, if minutes
    are withheld, from those that were ``traded``; ``official`` has the queries for them, and ``official_fault`` is
    their ``fault``.
    """

    def __init__(
        self,
        bars: Mapping[str, Sequence[Record]],
        *,
        page_size: int = 10_000,
        fault: Fault | None = None,
        traded: Mapping[str, Sequence[Record]] | None = None,
    ) -> None:
        self._bars, self._traded = _ascending(bars), _ascending(bars if traded is None else traded)
        self.page_size, self.fault, self._lock = page_size, fault, threading.Lock()
        self.requests: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.official: list[dict[str, str]] = []
        self.official_fault: Fault | None = None
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> AlpacaLoopback:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Reply:
        if query.get("timeframe") == "1Day":
            return self._official(query)
        with self._lock:
            number = len(self.requests)
            self.requests.append(query)
            self.headers.append(headers)
        if self.fault is not None and (reply := self.fault(number, query)) is not None:
            return reply
        if path != "/v2/stocks/bars":
            return Reply(404, b'{"message":"endpoint not found."}')
        return self._page(query, self._bars)

    def _official(self, query: dict[str, str]) -> Reply:
        with self._lock:
            number = len(self.official)
            self.official.append(query)
        if self.official_fault is not None and (reply := self.official_fault(number, query)) is not None:
            return reply
        return self._page(query, {symbol: official_days(records) for symbol, records in self._traded.items()})

    def _page(self, query: Mapping[str, str], bars: Mapping[str, Sequence[Record]]) -> Reply:
        start, end = _micros(query["start"]), _micros(query["end"])
        wanted = [s for s in sorted(set(query["symbols"].split(","))) if s in bars]
        found = [(s, r) for s in wanted for r in bars[s] if start <= _micros(r["t"]) <= end]
        skipped = int(query.get("page_token", "0"))
        size = min(self.page_size, int(query.get("limit", "1000")))
        page: dict[str, list[Record]] = {}
        for symbol, bar in found[skipped : skipped + size]:
            page.setdefault(symbol, []).append(bar)
        token = str(skipped + size) if skipped + size < len(found) else None
        return Reply(body=json.dumps({"bars": page, "next_page_token": token}).encode())


def official_days(records: Sequence[Record]) -> list[Record]:
    """Return a daily bar, stamped New York midnight, for each date of the minutes."""
    days: dict[str, list[Record]] = {}
    for bar in records:
        date = datetime.fromisoformat(bar["t"]).astimezone(NEW_YORK).date()
        midnight = datetime.combine(date, time(), NEW_YORK).astimezone(UTC)
        days.setdefault(f"{midnight:%Y-%m-%dT%H:%M:%SZ}", []).append(bar)
    return [
        {
            **bars[-1],
            "t": stamp,
            "o": bars[0]["o"],
            "h": max(bar["h"] for bar in bars),
            "l": min(bar["l"] for bar in bars),
            "v": sum(bar["v"] for bar in bars),
        }
        for stamp, bars in days.items()
    ]


def _ascending(bars: Mapping[str, Sequence[Record]]) -> Bars:
    return {symbol: sorted(records, key=lambda r: r["t"]) for symbol, records in bars.items()}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Do nothing: a client may close the connection first."""


def _micros(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _handler(loopback: AlpacaLoopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            reply = loopback.answer(url.path, query, {k.lower(): v for k, v in self.headers.items()})
            if reply.dropped:
                self.close_connection = True
                return
            body, headers = reply.body, {"Content-Type": "application/json", **reply.headers}
            if "gzip" in self.headers.get("Accept-Encoding", "") and "Content-Encoding" not in headers:
                body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
            self.send_response(reply.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if reply.cut_after is None else body[: reply.cut_after])
            if reply.cut_after is not None:
                self.close_connection = True

    return Handler
