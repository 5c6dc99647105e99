"""Reading what a provider yields: all pages of a request, and the bars in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import pyarrow as pa

from marketpipe.provider_kit import BarsRequest, MarketDataProvider, RawMarketData
from marketpipe.testing.bars import BarRow
from marketpipe.testing.market import MAY_BE_ABSENT

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


def assert_same_bars(found: Sequence[tuple[str, BarRow]], expected: Sequence[tuple[str, BarRow]]) -> None:
    """Fail if these are not the expected bars, with the first that differs and what the cause may be."""
    assert found == expected, _difference(found, expected)


def _difference(found: Sequence[tuple[str, BarRow]], expected: Sequence[tuple[str, BarRow]]) -> str:
    columns = [name for name in MAY_BE_ABSENT if {row.get(name, "") for _, row in found} == {None}]
    wanted = [(symbol, row | dict.fromkeys(columns)) for symbol, row in expected]
    if columns and found == wanted:
        names = ", ".join(f'"{name}"' for name in columns)
        return f"no bar has a value in {names}: if your provider has none, set absent_columns = ({names},) in the class"
    pairs = enumerate(zip(found, expected, strict=False))
    at = next((position for position, (one, other) in pairs if one != other), min(len(found), len(expected)))
    first, second = (some[at] if at < len(some) else "none" for some in (found, expected))
    return f"{len(found)} bars, expected {len(expected)}; the first that differs is {first}, expected {second}"
