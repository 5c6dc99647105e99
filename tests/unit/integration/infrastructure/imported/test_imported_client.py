from __future__ import annotations

import asyncio

import pyarrow as pa

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.domain.table_import import ImportSettings
from marketpipe.integration.infrastructure.imported.imported_client import ImportedBars, ImportedClient
from marketpipe.integration.infrastructure.imported.table_reader import SourceTable
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bars_request
from tests.support.builders import CALENDAR
from tests.support.own_files import Market

LONG = Market(first="2024-01-02", last="2024-03-01")


def client(*markets: Market) -> ImportedClient:
    tables = [m.table().append_column("symbol", pa.array([m.symbol] * len(m.table()))) for m in markets]
    settings = ImportSettings(name="x")
    bars = ImportedBars.read(SourceTable(pa.concat_tables(tables)), settings, CALENDAR)
    provider = bars.provider()
    assert isinstance(provider, ImportedClient)
    return provider


def joined(pages: list[RawMarketData]) -> pa.Table:
    return pa.concat_tables([pa.table(page.columns) for page in pages]).combine_chunks()


def test_a_request_is_answered_with_the_bars_of_its_dates() -> None:
    pages = [*client(Market(), Market("MSFT")).fetch_batch(bars_request(["MSFT"], "2024-01-03", "2024-01-03"))]
    assert [(str(run.symbol), run.length) for page in pages for run in page.runs] == [("MSFT", pages[0].num_rows)]
    assert joined(pages).equals(Market("MSFT", "2024-01-03", "2024-01-03").table().combine_chunks())


def test_pages_are_no_longer_than_the_capabilities_tell() -> None:
    other = Market("MSFT", LONG.first, LONG.last)
    provider = client(LONG, other)
    pages = [*provider.fetch_batch(bars_request(["AAPL", "MSFT"], LONG.first, LONG.last))]
    most = provider.capabilities.bars_per_page
    assert len(pages) > 2
    assert all(page.num_rows <= most for page in pages)
    assert [page.next_cursor is None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert sum(page.num_rows for page in pages) == len(LONG.table()) + len(
        Market("MSFT", LONG.first, LONG.last).table()
    )


def test_a_symbol_without_bars_is_answered_with_an_empty_page() -> None:
    (page,) = client(Market()).fetch_batch(bars_request(["MSFT"], "2024-01-02", "2024-01-02"))
    assert page.num_rows == 0
    assert pa.table(page.columns).schema == BAR_SCHEMA


def test_a_closed_client_has_released_its_table() -> None:
    provider = client(Market())
    provider.close()
    provider.close()
    (page,) = provider.fetch_batch(bars_request(["AAPL"], "2024-01-02", "2024-01-02"))
    assert page.num_rows == 0


def test_asynchronous_pages_are_the_same() -> None:
    provider, wanted = client(Market()), bars_request(["AAPL"], "2024-01-02", "2024-01-03")

    async def pages() -> list[RawMarketData]:
        return [page async for page in provider.async_fetch_batch(wanted)]

    assert joined(asyncio.run(pages())).equals(joined([*provider.fetch_batch(wanted)]))
