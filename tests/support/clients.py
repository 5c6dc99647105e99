"""Clients of market data providers for tests: they do not really wait, and they record every event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pyarrow as pa

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth, alpaca_capabilities
from marketpipe.integration.infrastructure.base_api_client import BaseApiClient
from marketpipe.integration.infrastructure.http_exchange import LARGEST_BODY, LONGEST_SECONDS, HttpExchange
from marketpipe.integration.infrastructure.rate_limiter import RateLimiter, RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.events import Event, RateLimitWaited
from tests.support.fake_clock import FakeClock
from tests.support.scripted_transport import Answer, ScriptedTransport

KEY, SECRET = "AKTESTKEY7QJ2XVD", "s3cr3t/Value+With=Chars"
Row = dict[str, Any]


def exchange(
    url: str,
    transport: httpx.MockTransport | None = None,
    *,
    seconds: float = 5.0,
    largest_body: int = LARGEST_BODY,
    longest_body_seconds: float = LONGEST_SECONDS,
) -> HttpExchange:
    return HttpExchange(
        url,
        alpaca_auth(KEY, SECRET),
        timeout=httpx.Timeout(seconds),
        largest_body=largest_body,
        longest_body_seconds=longest_body_seconds,
        transport=transport,
        async_transport=transport,
    )


class AlpacaSetting:
    """An ``AlpacaClient`` with its clock and its events, which a test checks afterwards."""

    def __init__(
        self,
        http: HttpExchange,
        *,
        retry: RetryPolicy | None = None,
        windows: Sequence[RateWindow] = (),
        feed: str = "sip",
        adjustment: str = "raw",
        client_class: type[AlpacaClient] = AlpacaClient,
    ) -> None:
        self.clock, self.events = FakeClock(), list[Event]()
        limiter = RateLimiter(windows, self.clock, lambda s: self.events.append(RateLimitWaited("alpaca", s)))
        capabilities = alpaca_capabilities(feed, adjustment)
        self.client = client_class(capabilities, http, limiter, self.clock, retry=retry, publish=self.events.append)


def scripted_alpaca(*answers: Answer | Exception, **setting: Any) -> tuple[AlpacaSetting, ScriptedTransport]:
    transport = ScriptedTransport(*answers)
    return AlpacaSetting(exchange("http://alpaca.test", transport), **setting), transport


def read(provider: MarketDataProvider, request: BarsRequest) -> list[RawMarketData]:
    return list(provider.fetch_batch(request))


def read_async(provider: MarketDataProvider, request: BarsRequest) -> list[RawMarketData]:
    async def collected() -> list[RawMarketData]:
        try:
            return [page async for page in provider.async_fetch_batch(request)]
        finally:
            if isinstance(provider, BaseApiClient):
                await provider.aclose()

    return asyncio.run(collected())


READERS = (read, read_async)


def rows(page: RawMarketData) -> list[Row]:
    """Return the canonical columns, and ``raw`` if the page has it."""
    found: list[Row] = pa.table(page.columns).to_pylist()
    return found


def owners(page: RawMarketData) -> list[str]:
    """Return the symbol of each row."""
    return [str(run.symbol) for run in page.runs for _ in range(run.length)]


def owned_rows(pages: Sequence[RawMarketData]) -> list[tuple[str, Row]]:
    return [pair for page in pages for pair in zip(owners(page), rows(page), strict=True)]
