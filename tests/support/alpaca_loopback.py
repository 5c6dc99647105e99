"""A server on loopback with Alpaca's protocol; it serves the bars that a test provides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo

from marketpipe.testing import LoopbackRequest, LoopbackServer, Response

NEW_YORK = ZoneInfo("America/New_York")
Record = dict[str, Any]
"""One bar with Alpaca's field names: t, o, h, l, c, v, n, vw."""
Bars = dict[str, list[Record]]
"""Bars by symbol."""


Fault = Callable[[int, Mapping[str, str]], Response | None]
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
    """A context manager. ``requests`` has every query for minutes, ``headers`` the headers of each, ``paths`` its path.

    A client may put a folder of its own before the path. It tells requests of a killed one, which can come late, apart.

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
        self.paths: list[str] = []
        self.official: list[dict[str, str]] = []
        self.official_fault: Fault | None = None
        self._server = LoopbackServer(self.answer)

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> AlpacaLoopback:
        self._server.__enter__()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.__exit__()

    def answer(self, request: LoopbackRequest) -> Response:
        query = dict(request.query)
        if query.get("timeframe") == "1Day":
            return self._official(query)
        with self._lock:
            number = len(self.requests)
            self.requests.append(query)
            self.headers.append(dict(request.headers))
            self.paths.append(request.path)
        if self.fault is not None and (reply := self.fault(number, query)) is not None:
            return reply
        if not request.path.endswith("/v2/stocks/bars"):
            return Response(404, b'{"message":"endpoint not found."}')
        return alpaca_page(query, self._bars, self.page_size)

    def _official(self, query: dict[str, str]) -> Response:
        with self._lock:
            number = len(self.official)
            self.official.append(query)
        if self.official_fault is not None and (reply := self.official_fault(number, query)) is not None:
            return reply
        days = {symbol: official_days(records) for symbol, records in self._traded.items()}
        return alpaca_page(query, days, self.page_size)


def alpaca_page(query: Mapping[str, str], bars: Mapping[str, Sequence[Record]], page_size: int) -> Response:
    """Return the page that Alpaca would send if it had these bars."""
    start, end = _micros(query["start"]), _micros(query["end"])
    wanted = [s for s in sorted(set(query["symbols"].split(","))) if s in bars]
    found = [(s, r) for s in wanted for r in bars[s] if start <= _micros(r["t"]) <= end]
    skipped = int(query.get("page_token", "0"))
    size = min(page_size, int(query.get("limit", "1000")))
    page: dict[str, list[Record]] = {}
    for symbol, bar in found[skipped : skipped + size]:
        page.setdefault(symbol, []).append(bar)
    token = str(skipped + size) if skipped + size < len(found) else None
    return Response(body={"bars": page, "next_page_token": token})


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


def _micros(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
