from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import BarsRequest


class PagesAhead:
    """While one page is validated and stored, the next one is asked for already: a provider's latency costs nothing
    as long as that takes longer.
    """

    def __init__(self, provider: MarketDataProvider) -> None:
        self._provider = provider

    @contextmanager
    def pages(self, request: BarsRequest) -> Iterator[Iterator[RawMarketData]]:
        with ThreadPoolExecutor(1, "marketpipe-ahead") as ahead:
            yield _one_ahead(self._provider.fetch_batch(request), ahead)


def _one_ahead(pages: Iterator[RawMarketData], ahead: Executor) -> Iterator[RawMarketData]:
    """Errors are raised in the place of the page that they kept from coming."""
    coming = ahead.submit(next, pages, None)
    while (page := coming.result()) is not None:
        coming = ahead.submit(next, pages, None)
        yield page
