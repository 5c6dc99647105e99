"""The contract of the port ``MarketDataProvider``, for the built-in providers and for one that somebody else wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import ProviderContext
from marketpipe.integration.domain.table_import import ImportSettings
from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient
from marketpipe.integration.infrastructure.imported.imported_client import ImportedBars
from marketpipe.integration.infrastructure.imported.table_reader import SourceTable
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.integration.infrastructure.synthetic.synthetic_client import SyntheticClient
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.testing import (
    BarRow,
    HttpProviderContract,
    LoopbackRequest,
    Market,
    MarketDataProviderContract,
    Response,
    bars_in,
    bars_request,
    read_pages,
)
from tests.support import example_provider
from tests.support.alpaca_loopback import Record, alpaca_page
from tests.support.builders import CALENDAR
from tests.support.clients import exchange
from tests.support.market_provider import MarketProvider, with_capabilities

FIRST, LAST = "2024-03-07", "2024-03-12"
REQUESTS_PER_MINUTE = 20
SHORT_NAMES = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "n": "trade_count", "vw": "vwap"}


class TestAlpaca(HttpProviderContract):
    def new_provider(self, url: str, context: ProviderContext) -> MarketDataProvider:
        limiter = RateLimiter([RateWindow(REQUESTS_PER_MINUTE)], context.clock)
        capabilities = alpaca_capabilities("sip", "raw", REQUESTS_PER_MINUTE)
        return AlpacaClient(capabilities, exchange(url), limiter, context.clock, publish=context.publish)

    def respond(self, request: LoopbackRequest, market: Market, page_size: int) -> Response:
        bars = _alpaca_records(market, request.query["timeframe"] == "1Day")
        return alpaca_page(request.query, bars, page_size)


class TestAcme(HttpProviderContract):
    def new_provider(self, url: str, context: ProviderContext) -> MarketDataProvider:
        return example_provider.make_acme(
            ProviderContext({"token": "acme-token", "base_url": url}, context.clock, context.publish)
        )

    def respond(self, request: LoopbackRequest, market: Market, page_size: int) -> Response:
        return _acme_page(request, _acme_records(market), page_size)


class TestSynthetic(MarketDataProviderContract):
    serves_market = False

    @contextmanager
    def connect(self, market: Market, page_size: int) -> Iterator[MarketDataProvider]:
        yield SyntheticClient(seed=11)

    def market(self) -> Market:
        return _synthetic_market(self.symbols)


class TestOneSymbolARequest(MarketDataProviderContract):
    """It has neither official days nor a server."""

    @contextmanager
    def connect(self, market: Market, page_size: int) -> Iterator[MarketDataProvider]:
        yield MarketProvider(market, page_size, with_capabilities(symbols_per_request=1, official_days=False))


class TestImported(MarketDataProviderContract):
    """Its server is a table, which is paged as its capabilities tell."""

    has_pages = False

    @contextmanager
    def connect(self, market: Market, page_size: int) -> Iterator[MarketDataProvider]:
        rows = [{"symbol": symbol, **row} for symbol, some in market.bars.items() for row in some]
        source = SourceTable(pa.Table.from_pylist(rows))
        yield ImportedBars.read(source, ImportSettings(name="mine"), CALENDAR).provider()

    def test_an_ingestion_stores_every_bar(self, tmp_path: Path) -> None:
        pytest.skip("nothing can be requested of a table: Pipeline.import_table has tests of its own")


class TestDaysOnlyWithoutPages(MarketDataProviderContract):
    has_minutes = False
    has_pages = False

    @contextmanager
    def connect(self, market: Market, page_size: int) -> Iterator[MarketDataProvider]:
        days = Market({}, market.official)
        yield MarketProvider(days, 10_000, with_capabilities(symbols_per_official_request=2))


@cache
def _synthetic_market(symbols: tuple[str, ...]) -> Market:
    """Return the bars of the client itself, each symbol requested alone."""
    found: dict[Timeframe, dict[str, list[BarRow]]] = {}
    for timeframe in (Timeframe.MINUTE_1, Timeframe.DAY_1):
        asked = {symbol: bars_request([symbol], FIRST, LAST, timeframe=timeframe) for symbol in symbols}
        pages = {symbol: read_pages(SyntheticClient(seed=11), request) for symbol, request in asked.items()}
        found[timeframe] = {symbol: [row for _, row in bars_in(some)] for symbol, some in pages.items()}
    return Market(found[Timeframe.MINUTE_1], found[Timeframe.DAY_1])


@cache
def _alpaca_records(market: Market, official: bool) -> Mapping[str, Sequence[Record]]:
    bars = market.official if official else market.bars
    return {symbol: [_record(row) for row in rows] for symbol, rows in bars.items()}


@cache
def _acme_records(market: Market) -> Sequence[Record]:
    return [
        {"symbol": symbol, **_record(row), "t": Timestamp(row["timestamp"]).epoch_micros // 1000}
        for symbol, rows in sorted(market.bars.items())
        for row in rows
    ]


def _record(row: BarRow) -> Record:
    return {"t": _rfc3339(row["timestamp"]), **{short: row[name] for short, name in SHORT_NAMES.items()}}


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _acme_page(request: LoopbackRequest, records: Sequence[Record], page_size: int) -> Response:
    if request.headers.get("authorization") != "Bearer acme-token":
        return Response(401, {"message": "who are you?"})
    query = request.query
    start, end, symbols = int(query["from"]), int(query["until"]), query["symbols"].split(",")
    found = [record for record in records if record["symbol"] in symbols and start <= record["t"] < end]
    skipped, size = int(query.get("cursor", "0")), min(page_size, int(query["limit"]))
    body: Record = {"results": found[skipped : skipped + size]} if found else {}
    if skipped + size < len(found):
        body["next_url"] = f"https://api.acme.example/v3/minutes?cursor={skipped + size}&limit=7"
    return Response(body=body)
