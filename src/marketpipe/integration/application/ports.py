from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars


class MarketDataProvider(Protocol):
    """Pages come symbols ascending, then time; a symbol-day may straddle pages. Raises ``ProviderError``."""

    @property
    def capabilities(self) -> ProviderCapabilities: ...

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]: ...

    def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]: ...

    def close(self) -> None: ...


class PageSource(Protocol):
    """The pages that answer a request, in the provider's order, for as long as the context lasts."""

    def pages(self, request: BarsRequest) -> AbstractContextManager[Iterator[RawMarketData]]:
        """Raises ``ProviderError`` where a page does not come."""
        ...


class SymbolDayAssembler(Protocol):
    """Turns pages into whole symbol-days: what a page may have cut is held back until the next one."""

    def add(self, page: RawMarketData) -> ColumnarBars | None:
        """What is whole by now; None where nothing is."""
        ...

    def close(self) -> ColumnarBars | None:
        """What was still held back."""
        ...

    @property
    def unrequested(self) -> int:
        """Bars left out so far because nobody had asked for their symbol or date."""
        ...
