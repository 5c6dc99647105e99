"""A small market, and providers that serve its bars, each with its own protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

import httpx
from attrs import field, frozen

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import ProviderContext
from marketpipe.integration.infrastructure.auth import HeaderTokenAuth
from marketpipe.integration.infrastructure.http_exchange import HttpExchange
from marketpipe.integration.infrastructure.synthetic.synthetic_client import SyntheticClient
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.builders import request
from tests.support.clients import AlpacaSetting, Row, exchange, owned_rows, read
from tests.support.example_provider import connect
from tests.support.fake_clock import FakeClock

SEED = 11
SYMBOLS = ("AAPL", "BRK.B", "MSFT")
FIRST, LAST = "2024-03-07", "2024-03-12"
"""Two sessions on New York winter time, two on summer time, a weekend between them."""


@frozen
class Market:
    """``bars``: canonical rows by symbol, ascending."""

    bars: Mapping[str, list[Row]] = field(repr=False)

    @classmethod
    def invented(cls, every: int = 1) -> Market:
        """Return the bars of ``SyntheticClient`` for the symbols and dates above, or every n-th of them."""
        bars: dict[str, list[Row]] = {symbol: [] for symbol in SYMBOLS}
        for symbol, row in owned_rows(read(SyntheticClient(SEED), request(SYMBOLS, FIRST, LAST))):
            bars[symbol].append(row)
        return cls({symbol: rows[::every] for symbol, rows in bars.items()})

    def days(self, asked: BarsRequest) -> dict[SymbolDay, list[Row]]:
        """Return the bars that answer a request, without symbol-days that have none."""
        return {
            SymbolDay(symbol, session.trading_date): found
            for symbol in sorted(asked.symbols)
            for session in asked.sessions
            if (
                found := [
                    r for r in self.bars.get(str(symbol), []) if session.window.contains(Timestamp(r["timestamp"]))
                ]
            )
        }


Connect = Callable[[Market, int], AbstractContextManager[MarketDataProvider]]


@frozen
class Subject:
    """A provider. ``connect`` takes a market and the largest number of bars in a page."""

    name: str
    connect: Connect = field(repr=False)

    def __str__(self) -> str:
        return self.name


@contextmanager
def _alpaca(market: Market, page_size: int) -> Iterator[MarketDataProvider]:
    records = {symbol: [_alpaca_record(row) for row in rows] for symbol, rows in market.bars.items()}
    with AlpacaLoopback(records, page_size=page_size) as loopback:
        client = AlpacaSetting(exchange(loopback.url)).client
        yield client
        client.close()


@contextmanager
def _synthetic(_: Market, __: int) -> Iterator[MarketDataProvider]:
    yield SyntheticClient(SEED)


@contextmanager
def _acme(market: Market, page_size: int) -> Iterator[MarketDataProvider]:
    records = {
        symbol: [{"symbol": symbol, **_alpaca_record(row), "t": _millis(row["timestamp"])} for row in rows]
        for symbol, rows in market.bars.items()
    }
    transport = httpx.MockTransport(lambda asked: _acme_page(records, page_size, asked))
    auth = HeaderTokenAuth({"Authorization": "Bearer acme-token"})
    http = HttpExchange("https://api.acme.test", auth, transport=transport, async_transport=transport)
    client = connect(ProviderContext({}, FakeClock(), lambda _: None), http)
    yield client
    client.close()


ALPACA, SYNTHETIC, ACME = Subject("alpaca", _alpaca), Subject("synthetic", _synthetic), Subject("acme", _acme)


def _alpaca_record(row: Row) -> Row:
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "n": "trade_count", "vw": "vwap"}
    return {"t": _rfc3339(row["timestamp"]), **{short: row[name] for short, name in names.items()}}


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _millis(moment: datetime) -> int:
    return Timestamp(moment).epoch_micros // 1000


def _acme_page(market: Mapping[str, list[Row]], page_size: int, asked: httpx.Request) -> httpx.Response:
    if asked.headers.get("authorization") != "Bearer acme-token":
        return httpx.Response(401, json={"message": "who are you?"})
    query = asked.url.params
    start, end = int(query["from"]), int(query["until"])
    symbols = sorted(query["symbols"].split(","))
    found = [record for symbol in symbols for record in market.get(symbol, []) if start <= record["t"] < end]
    skipped, size = int(query.get("cursor", "0")), min(page_size, int(query["limit"]))
    body: Row = {"results": found[skipped : skipped + size]} if found else {}
    if skipped + size < len(found):
        body["next_url"] = f"https://api.acme.test/v3/minutes?cursor={skipped + size}&limit=7"
    return httpx.Response(200, json=body)
