"""A market data provider in memory: it serves a ``Market`` as the contract demands, and subclasses break it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

from attrs import evolve

from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.testing import BarRow, Market, bar_table

CAPABILITIES = ProviderCapabilities("memory", DataFeed("invented", timedelta()), official_days=True)


class MarketProvider:
    """``capabilities`` are checked: a request for more symbols than they allow is a mistake of the caller."""

    def __init__(self, market: Market, page_size: int, capabilities: ProviderCapabilities = CAPABILITIES) -> None:
        self.market, self.page_size = market, min(page_size, capabilities.bars_per_page)
        self.capabilities = capabilities

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        assert len(request.symbols) <= self.capabilities.symbols_per_request
        bars = self.bars(request)
        for start in range(0, max(1, len(bars)), self.page_size):
            end = start + self.page_size
            yield page_of(bars[start:end], str(end) if end < len(bars) else None)

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        for page in self.fetch_batch(request):
            yield page

    def close(self) -> None:
        """Nothing is open."""

    def bars(self, request: BarsRequest) -> Sequence[tuple[str, BarRow]]:
        return self.market.answer(request)


def page_of(bars: Sequence[tuple[str, BarRow]], next_cursor: str | None = None) -> RawMarketData:
    runs = (SymbolRun(Symbol(symbol), len(list(group))) for symbol, group in groupby(bars, key=itemgetter(0)))
    return RawMarketData(bar_table([row for _, row in bars]), tuple(runs), next_cursor)


def with_capabilities(**changes: object) -> ProviderCapabilities:
    return evolve(CAPABILITIES, **changes)
