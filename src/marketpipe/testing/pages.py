"""Reading what a provider yields: all pages of a request, and the bars in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import pyarrow as pa

from marketpipe.provider_kit import BarsRequest, MarketDataProvider, RawMarketData
from marketpipe.testing.bars import BarRow

Reader = Callable[[MarketDataProvider, BarsRequest], list[RawMarketData]]


def read_pages(provider: MarketDataProvider, request: BarsRequest) -> list[RawMarketData]:
    """Return all pages of a request."""
    return list(provider.fetch_batch(request))


def read_pages_async(provider: MarketDataProvider, request: BarsRequest) -> list[RawMarketData]:
    """Return all pages of a request from ``async_fetch_batch``, on an event loop of its own.

    A provider with a coroutine ``aclose`` is closed with the loop, on which its connections depend.
    """

    async def all_pages() -> list[RawMarketData]:
        try:
            return [page async for page in provider.async_fetch_batch(request)]
        finally:
            if (aclose := getattr(provider, "aclose", None)) is not None:
                await aclose()

    return asyncio.run(all_pages())


READERS: Final[tuple[Reader, ...]] = (read_pages, read_pages_async)
"""The two ways to read a provider."""


def page_rows(page: RawMarketData) -> list[BarRow]:
    """Return the rows of a page; each has a value for every column, and ``raw`` if the page has it."""
    rows: list[BarRow] = pa.table(page.columns).to_pylist()
    return rows


def row_symbols(page: RawMarketData) -> list[str]:
    """Return the symbol of each row of a page."""
    return [str(run.symbol) for run in page.runs for _ in range(run.length)]


def bars_in(pages: Sequence[RawMarketData]) -> list[tuple[str, BarRow]]:
    """Return the bars of pages in their order, each with its symbol."""
    return [pair for page in pages for pair in zip(row_symbols(page), page_rows(page), strict=True)]
