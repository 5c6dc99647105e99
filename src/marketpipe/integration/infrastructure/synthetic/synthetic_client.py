from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pyarrow as pa

from marketpipe.integration.domain.data_feed import DataFeed
from marketpipe.integration.domain.provider_traits import ProviderTraits
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.synthetic.synthetic_day import synthetic_day
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA

BARS_PER_PAGE = 10_000


class SyntheticClient:
    """A market data provider without a market: bars that look real and are the same on every machine.

    The same seed, symbol and date give the same bars, whatever else is asked for. It never reads the clock.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @property
    def traits(self) -> ProviderTraits:
        """The seed is part of the feed's name: two seeds are two datasets."""
        return ProviderTraits("synthetic", DataFeed(f"seed-{self._seed}", timedelta()), "raw", BARS_PER_PAGE, 1000)

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        """Pages of whole symbol-days, each cut when another day would take it over 10,000 bars."""
        held: list[tuple[Symbol, pa.Table]] = []
        rows = 0
        for symbol in sorted(request.symbols):
            for asked in request.sessions:
                day = self._day(symbol, asked)
                if held and rows + len(day) > BARS_PER_PAGE:
                    yield _page(held, next_cursor=f"{symbol}|{asked.trading_date}")
                    held, rows = [], 0
                held.append((symbol, day))
                rows += len(day)
        yield _page(held, next_cursor=None)

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        for page in self.fetch_batch(request):
            yield page

    def close(self) -> None:
        """Nothing is held open."""

    def _day(self, symbol: Symbol, asked: AskedSession) -> pa.Table:
        day = synthetic_day(self._seed, SymbolDay(symbol, asked.trading_date), asked.session)
        stamps = day["timestamp"].cast(pa.int64()).to_numpy()
        start, end = asked.window.start.epoch_micros, asked.window.end.epoch_micros
        return day.slice(int(stamps.searchsorted(start)), int(stamps.searchsorted(end) - stamps.searchsorted(start)))


def _page(days: list[tuple[Symbol, pa.Table]], next_cursor: str | None) -> RawMarketData:
    table = pa.concat_tables([day for _, day in days]) if days else BAR_SCHEMA.empty_table()
    return RawMarketData(table, tuple(SymbolRun(symbol, len(day)) for symbol, day in days), next_cursor)
