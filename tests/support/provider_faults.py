"""Every way in which a market data provider can fail, for the loopback server, and pipelines that use it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from marketpipe.config import ClientConfig, Credentials
from marketpipe.pipeline import Pipeline
from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.testing import FakeClock, Response, bar, sessions
from tests.support.alpaca_loopback import AlpacaLoopback, Record, record
from tests.support.builders import day
from tests.support.clients import KEY, SECRET, AlpacaSetting, exchange
from tests.support.pipeline_ring import config, minutes, stored_rows
from tests.support.scripted_provider import Row

SYMBOLS = ("AAPL", "BRK.B", "MSFT", "NVDA")
DATES = tuple(str(session.trading_date) for session in sessions("2024-03-04", "2024-03-22"))
"""Three weeks; summer time begins before the second one."""
WEEK = DATES[:5]
FIRST, LAST = WEEK[0], WEEK[-1]
STATUSES = ("429", "500", "502", "503", "504")
BROKEN = ("drop", "truncate", "garbage", "html")
KINDS = (*STATUSES, *BROKEN, "hang", "slow", "emptypage", "null")
TIMEOUT_SECONDS = 0.1
Market = dict[str, list[Record]]


def market(symbols: Sequence[str] = SYMBOLS, dates: Sequence[str] = WEEK, count: int = 40) -> Market:
    """Return ``count`` different bars for each day, from the open on."""
    return {
        symbol: [_record(row) for j, date in enumerate(dates) for row in _rows(date, count, 100.0 + 50 * i + j)]
        for i, symbol in enumerate(symbols)
    }


def truth(bars: Market, symbol: str, date: str) -> list[Row]:
    """Return the rows that must be stored."""
    return [bar(r["t"], r["o"]) for r in bars.get(symbol, []) if r["t"].startswith(date)]


def _rows(date: str, count: int, price: float) -> list[Row]:
    return minutes(date, count, start="13:30" if date >= "2024-03-10" else "14:30", price=price)


def _record(row: Row) -> Record:
    return record(row["timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ"), row["open"])


class ProviderFaults:
    """Make a ``share`` of all requests fail in one of the ways ``kinds``; a request that failed may fail again.

    The same seed makes the same requests fail, in whatever order threads send them. ``done`` counts the faults.
    """

    def __init__(self, *kinds: str, share: float = 0.5, seed: int = 7, retry_after: str = "2") -> None:
        self._kinds, self._share, self._seed, self._retry_after = kinds, share, seed, retry_after
        self._asked, self._lock = Counter[str](), threading.Lock()
        self.done: Counter[str] = Counter()

    def __call__(self, _: int, query: Mapping[str, str]) -> Response | None:
        name = repr(sorted(query.items()))
        with self._lock:
            self._asked[name] += 1
            dice = random.Random(f"{self._seed} {name} {self._asked[name]}")
            if dice.random() >= self._share:
                return None
            kind = dice.choice(self._kinds)
            self.done[kind] += 1
        return self._reply(kind, query)

    def _reply(self, kind: str, query: Mapping[str, str]) -> Response | None:
        if kind in STATUSES:
            headers = {"Retry-After": self._retry_after} if kind == "429" else {}
            return Response(int(kind), b'{"message":"internal server error occurred"}', headers)
        if kind in ("hang", "slow"):
            time.sleep(2 * TIMEOUT_SECONDS if kind == "hang" else 0.01)
            return None
        token = query.get("page_token", "0")
        replies = {
            "drop": Response(dropped=True),
            "truncate": Response(body=b'{"bars":{},"next_page_token":null}', cut_after=17),
            "garbage": Response(body=b'{"bars":{"AAPL":[{"t":"2024-01-'),
            "html": Response(body=b"<html><body>Bad gateway</body></html>", headers={"Content-Type": "text/html"}),
            "emptypage": Response(body=f'{{"bars":{{}},"next_page_token":"{token}"}}'.encode()),
            "null": Response(body=b'{"bars":null,"next_page_token":null}'),
        }
        return replies[kind]


def settings(root: Path, url: str, symbols: Sequence[str], first: str, last: str, **changes: Any) -> Any:
    rate = changes.pop("rate", 1000)
    client = ClientConfig(base_url=url, rate_limit_per_min=rate)
    return config(root, symbols, first, last, provider="alpaca", alpaca=client, **changes)


def alpaca_pipeline(
    root: Path,
    url: str,
    *,
    symbols: Sequence[str] = SYMBOLS,
    first: str = FIRST,
    last: str = LAST,
    clock: FakeClock | None = None,
    **changes: Any,
) -> Pipeline:
    """Return a pipeline with its own Alpaca client and a clock that does not really wait."""
    return Pipeline(
        settings(root, url, symbols, first, last, **changes),
        credentials=Credentials(KEY, SECRET),
        registry=CollectorRegistry(),
        clock=clock or FakeClock(),
    )


def hasty_pipeline(
    root: Path, url: str, *, symbols: Sequence[str] = SYMBOLS, largest_body: int = 4_000_000, **changes: Any
) -> Pipeline:
    """Return a pipeline whose client waits for ``TIMEOUT_SECONDS`` and takes at most ``largest_body`` bytes."""
    client = AlpacaSetting(exchange(url, seconds=TIMEOUT_SECONDS, largest_body=largest_body))
    made = settings(root, url, symbols, changes.pop("first", FIRST), changes.pop("last", LAST), **changes)
    return Pipeline(made, registry=CollectorRegistry(), market_data_provider=client.client, clock=client.clock)


def ingested(root: Path, loopback: AlpacaLoopback, **changes: Any) -> IngestionReport:
    with alpaca_pipeline(root, loopback.url, **changes) as made:
        return made.ingest()


def asked(query: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the symbols and the dates of a request."""
    first, last = query["start"][:10], query["end"][:10]
    last_of = [date for date in DATES if first <= date and (date < last or query["end"][11:] > "04")]
    return query["symbols"].split(","), [date for date in last_of if date <= last]


def names(query: Mapping[str, str], symbol: str, date: str) -> bool:
    """Return whether a request has that symbol-day, alone or among others."""
    symbols, dates = asked(query)
    return symbol in symbols and date in dates


Answer = Callable[[Mapping[str, str]], Response]


def whenever_asked_for(symbol: str, date: str, answer: Answer) -> Callable[[int, Mapping[str, str]], Response | None]:
    """Return a fault that gives the same response to every request that has that symbol-day."""
    return lambda _, query: answer(query) if names(query, symbol, date) else None


def slow_answer(_: Mapping[str, str]) -> Response:
    time.sleep(2 * TIMEOUT_SECONDS)
    return Response()


def wrongly_stored(root: Path, bars: Market, days: Sequence[SymbolDay]) -> list[str]:
    """Return the symbol-days whose files do not hold the correct bars."""
    return [str(d) for d in days if stored_rows(root, str(d.symbol), str(d.trading_date)) != _truth_of(bars, d)]


def _truth_of(bars: Market, symbol_day: SymbolDay) -> list[Row]:
    return truth(bars, str(symbol_day.symbol), str(symbol_day.trading_date))


def all_days(symbols: Sequence[str] = SYMBOLS, dates: Sequence[str] = WEEK) -> list[SymbolDay]:
    return [day(symbol, date) for symbol in symbols for date in dates]
