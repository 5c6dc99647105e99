from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events import RefusedSymbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA

Row = dict[str, Any]
"""One canonical row, as ``tests.support.builders.bar`` makes it."""
Page = Sequence[tuple[str, Row]]
"""Rows of one page in the provider's order, each with its symbol."""


class ScriptedProvider:
    """A market data provider whose responses a test prepares.

    ``bars``: rows by symbol and trading date; a call gets those inside the windows it asks for, in pages of
    ``page_size``. ``errors``: by symbol (raised whenever it is asked for) or by the number of the call, from 1.
    ``refused``: reasons by symbol. ``script``: by the number of the call, its exact pages, whatever was requested;
    an error among the pages is raised in its place. ``requests`` remembers the calls.

    ``official``: official days by symbol and trading date; None if it has none to offer. ``official_errors`` are by the
    number of the call for them; ``official_requests`` remembers these calls, and ``requests`` does not.
    """

    def __init__(
        self,
        bars: Mapping[str, Mapping[str, Sequence[Row]]] | None = None,
        *,
        page_size: int = 10_000,
        errors: Mapping[str | int, Exception] | None = None,
        refused: Mapping[str, str] | None = None,
        script: Mapping[int, Sequence[Page | Exception]] | None = None,
        delay: timedelta = timedelta(),
        symbols_per_request: int = 200,
        feed: str = "scripted",
        capabilities: ProviderCapabilities | None = None,
        closing_auction: int | None = None,
        official: Mapping[str, Mapping[str, Row | Sequence[Row]]] | None = None,
        official_errors: Mapping[int, Exception] | None = None,
    ) -> None:
        self.bars = {symbol: dict(days) for symbol, days in (bars or {}).items()}
        self.errors, self.refused, self.script = dict(errors or {}), dict(refused or {}), dict(script or {})
        self.requests: list[BarsRequest] = []
        self.official = {symbol: dict(days) for symbol, days in (official or {}).items()}
        self.official_errors, self.official_requests = dict(official_errors or {}), list[BarsRequest]()
        self.closed = False
        self._lock = threading.Lock()
        self._capabilities = capabilities or ProviderCapabilities(
            "scripted",
            DataFeed(feed, delay),
            "raw",
            page_size,
            symbols_per_request,
            official_days=official is not None,
            closing_auction=closing_auction,
        )

    @property
    def capabilities(self) -> ProviderCapabilities:
        return self._capabilities

    @property
    def asked(self) -> list[str]:
        """Return every symbol-day of every call, such as "AAPL 2024-01-02", sorted and with repetitions."""
        return sorted(str(day) for request in self.requests for day in request.symbol_days)

    def forget(self) -> None:
        """Forget the calls made so far; numbering starts again."""
        self.requests.clear()
        self.official_requests.clear()

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        if request.timeframe is Timeframe.DAY_1:
            yield from self._official_days(request)
            return
        with self._lock:
            self.requests.append(request)
            call = len(self.requests)
        for reason in (call, *map(str, request.symbols)):
            if reason in self.errors:
                raise self.errors[reason]
        if call in self.script:
            yield from _played(self.script[call])
        else:
            yield from self._answer(request)

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        for page in self.fetch_batch(request):
            yield page

    def close(self) -> None:
        self.closed = True

    def _official_days(self, request: BarsRequest) -> Iterator[RawMarketData]:
        self.official_requests.append(request)
        if (error := self.official_errors.get(len(self.official_requests))) is not None:
            raise error
        yield from self._answer(request)

    def _answer(self, request: BarsRequest) -> Iterator[RawMarketData]:
        refused = tuple(RefusedSymbol(s, self.refused[str(s)]) for s in request.symbols if str(s) in self.refused)
        if refused:
            yield RawMarketData(BAR_SCHEMA.empty_table(), refused=refused)
        wanted = sorted(set(request.symbols) - {item.symbol for item in refused})
        rows = [(str(s), row) for s in wanted for asked in request.sessions for row in self._rows(str(s), asked)]
        size = self._capabilities.bars_per_page
        yield from _played([rows[i : i + size] for i in range(0, len(rows), size)] or [[]])

    def _rows(self, symbol: str, asked: AskedSession) -> list[Row]:
        if asked.window.start == asked.trading_date.midnight:
            found = self.official.get(symbol, {}).get(str(asked.trading_date), ())
            return [found] if isinstance(found, dict) else list(found)
        rows = self.bars.get(symbol, {}).get(str(asked.trading_date), ())
        return [row for row in rows if asked.window.contains(Timestamp(row["timestamp"]))]


def _played(pages: Sequence[Page | Exception]) -> Iterator[RawMarketData]:
    for number, page in enumerate(pages, start=1):
        if isinstance(page, Exception):
            raise page
        yield _page(page, str(number) if number < len(pages) else None)


def _page(page: Page, next_cursor: str | None) -> RawMarketData:
    rows = pa.Table.from_pylist([row for _, row in page], schema=BAR_SCHEMA)
    runs = (SymbolRun(Symbol(symbol), len(list(group))) for symbol, group in groupby(page, key=itemgetter(0)))
    return RawMarketData(rows, tuple(runs), next_cursor)
