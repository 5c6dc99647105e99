"""What every market data provider has to do, as a class of pytest tests: subclass it for your own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Final

import pyarrow as pa
import pytest
from attrs import evolve

from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.provider_kit import BAR_SCHEMA, BarsRequest, MarketDataProvider, ProviderCapabilities, RawMarketData
from marketpipe.shared_kernel.domain.errors import ProviderError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.testing.bars import BarRow, bars_request
from marketpipe.testing.clock import FakeClock
from marketpipe.testing.market import Market, invented_market
from marketpipe.testing.pages import (
    READERS,
    Reader,
    assert_same_bars,
    bars_in,
    read_pages,
    read_pages_async,
    row_symbols,
)

FIRST, LAST = "2024-03-07", "2024-03-12"
"""Two sessions on New York winter time, two on summer time, a weekend between them."""
ONE_DAY: Final = "2024-03-11"
WITHOUT_BARS = "2024-05-01", "2024-05-03"
"""Sessions of which the market has no bar."""
UNKNOWN: Final = "ZZZZ"
USUAL_PAGE: Final = 500
"""Bars in a page of the scripted server, unless a test says otherwise: a few pages for all bars of the market."""
LARGEST_PAGE: Final = 1_000_000
THINNED: Final = 60
"""Every so manieth minute is left if pages of one bar are tried."""

EACH_READER = pytest.mark.parametrize("reader", READERS, ids=("sync", "async"))
EACH_TIMEFRAME = pytest.mark.parametrize("timeframe", [Timeframe.MINUTE_1, Timeframe.DAY_1], ids=str)


class MarketDataProviderContract:
    """The contract of ``MarketDataProvider``: a subclass says how to connect, and pytest runs the tests for it.

    Requests are no larger than the provider's capabilities allow, so a provider that takes one symbol a request passes
    too. A test that does not apply to a provider is skipped and says why. What capabilities do not say, the subclass
    does:

    ``symbols``: those of the market, at least two, as your provider spells them. ``has_minutes``: False for a provider
    of daily bars only. ``has_pages``: False if every response is complete. ``serves_market``: False if the provider
    makes bars of its own, for every symbol; then override ``market`` too. ``absent_columns``: "trade_count", "vwap" or
    both if the provider does not have them.
    """

    symbols: ClassVar[tuple[str, ...]] = ("AAPL", "BRK.B", "MSFT")
    has_minutes: ClassVar[bool] = True
    has_pages: ClassVar[bool] = True
    serves_market: ClassVar[bool] = True
    absent_columns: ClassVar[tuple[str, ...]] = ()

    def connect(self, market: Market, page_size: int) -> AbstractContextManager[MarketDataProvider]:
        """Return a context in which your provider serves the bars of ``market``, and close it at the end.

        At most ``page_size`` bars are in a page, over all symbols, or as many as your provider's limit is if that is
        smaller. ``market.answer`` may help. Two contexts may be open at once.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method connect(market, page_size)")

    def market(self) -> Market:
        """Return the bars that the scripted server has."""
        return invented_market(self.symbols, FIRST, LAST, absent_columns=self.absent_columns)

    @EACH_TIMEFRAME
    @EACH_READER
    def test_every_requested_bar_is_returned_and_no_other(self, timeframe: Timeframe, reader: Reader) -> None:
        request = self._request(timeframe, ONE_DAY, ONE_DAY)
        with self._connected(timeframe) as provider:
            found = bars_in(_read(provider, request, reader))
        assert_same_bars(found, self.market().answer(request))
        assert found

    @EACH_TIMEFRAME
    def test_symbols_ascend_and_then_time(self, timeframe: Timeframe) -> None:
        request = self._request(timeframe, symbols=tuple(reversed(self.symbols)))
        with self._connected(timeframe) as provider:
            answers = [bars_in(read_pages(provider, part)) for part in _parts(provider, request)]
        for bars in answers:
            order = [(symbol, row["timestamp"]) for symbol, row in bars]
            assert all(earlier < later for earlier, later in pairwise(order)), "bars are not by symbol, then time"
        assert {symbol for bars in answers for symbol, _ in bars} == set(self.symbols)

    @pytest.mark.parametrize("kind", SessionKind, ids=str)
    def test_all_bars_are_in_the_requested_hours(self, kind: SessionKind) -> None:
        request = bars_request(self.symbols, ONE_DAY, ONE_DAY, kind=kind)
        with self._connected(Timeframe.MINUTE_1) as provider:
            found = bars_in(_read(provider, request))
        outside = [row["timestamp"] for _, row in found if not request.window.contains(Timestamp(row["timestamp"]))]
        assert outside == []
        assert_same_bars(found, self.market().answer(request))

    def test_a_bar_at_the_end_of_the_window_is_not_returned(self) -> None:
        """A window is half-open, even if the provider's own ranges include their end."""
        whole = bars_request(self.symbols, ONE_DAY, ONE_DAY)
        last = self.market().answer(whole)[100][1]["timestamp"]
        (session,) = whole.sessions
        cut = evolve(whole, sessions=(evolve(session, window=session.window.until(Timestamp(last)), final=False),))
        with self._connected(Timeframe.MINUTE_1) as provider:
            found = bars_in(_read(provider, cut))
        assert last not in {row["timestamp"] for _, row in found}
        assert_same_bars(found, self.market().answer(cut))

    @EACH_TIMEFRAME
    def test_pages_have_the_canonical_columns_and_runs_that_cover_them(self, timeframe: Timeframe) -> None:
        with self._connected(timeframe) as provider:
            pages = _read(provider, self._request(timeframe))
            limit = provider.capabilities.bars_per_page
        for page in pages:
            table = pa.table(page.columns)
            assert table.schema.equals(BAR_SCHEMA), f"the columns are not those of BAR_SCHEMA but {table.schema}"
            assert page.num_rows == table.num_rows == len(row_symbols(page))
            assert page.num_rows <= limit, "a page has more bars than capabilities.bars_per_page"
            assert {str(run.symbol) for run in page.runs} <= set(self.symbols)

    @EACH_TIMEFRAME
    @EACH_READER
    def test_the_last_page_alone_has_no_next_cursor(self, timeframe: Timeframe, reader: Reader) -> None:
        with self._connected(timeframe) as provider:
            for request in _parts(provider, self._request(timeframe)):
                cursors = [page.next_cursor for page in reader(provider, request)]
                assert cursors[-1] is None
                assert None not in cursors[:-1]
                assert len(set(cursors)) == len(cursors), "a cursor came twice"

    @EACH_TIMEFRAME
    def test_the_same_request_gets_the_same_response(self, timeframe: Timeframe) -> None:
        request = self._request(timeframe, ONE_DAY, ONE_DAY)
        with self._connected(timeframe) as provider:
            assert _read(provider, request) == _read(provider, request)

    @EACH_TIMEFRAME
    def test_async_pages_equal_sync_pages(self, timeframe: Timeframe) -> None:
        request = self._request(timeframe, ONE_DAY, ONE_DAY)
        with self._connected(timeframe) as provider:
            assert _read(provider, request, read_pages_async) == _read(provider, request)

    @EACH_TIMEFRAME
    def test_threads_may_share_a_provider(self, timeframe: Timeframe) -> None:
        requests = [self._request(timeframe, ONE_DAY, ONE_DAY, symbols=(symbol,)) for symbol in self.symbols] * 2
        with self._connected(timeframe, 50) as provider, ThreadPoolExecutor(len(requests)) as threads:
            found = [bars_in(pages) for pages in threads.map(lambda request: read_pages(provider, request), requests)]
        for bars, request in zip(found, requests, strict=True):
            assert_same_bars(bars, self.market().answer(request))

    @EACH_TIMEFRAME
    def test_a_reader_that_stops_early_leaves_the_provider_usable(self, timeframe: Timeframe) -> None:
        request = self._request(timeframe, ONE_DAY, ONE_DAY, symbols=self.symbols[:1])
        with self._connected(timeframe, 50) as provider:
            next(iter(provider.fetch_batch(request)))
            assert_same_bars(bars_in(read_pages(provider, request)), self.market().answer(request))

    def test_capabilities_are_ones_that_a_scheduler_can_work_with(self) -> None:
        with self.connect(self.market(), USUAL_PAGE) as provider:
            found = provider.capabilities
            assert isinstance(found, ProviderCapabilities)
            assert found == provider.capabilities, "capabilities change from one call to the next"
        assert found.name
        assert found.feed.name, "a feed needs a name: one store holds the bars of one feed"
        assert found.feed.delay.total_seconds() >= 0
        assert found.adjustment
        assert self.has_minutes or found.official_days, "there are neither minutes nor official days"

    def test_as_many_symbols_as_the_capabilities_allow_fit_into_one_request(self) -> None:
        known = self.symbols[0]
        with self._connected(Timeframe.MINUTE_1, LARGEST_PAGE) as provider:
            names = [f"S{number:03}" for number in range(provider.capabilities.symbols_per_request - 1)]
            (day,) = bars_request([known], ONE_DAY, ONE_DAY).sessions
            opening = evolve(day, window=day.window.until(day.session.opens))
            request = BarsRequest(1, tuple(map(Symbol, (known, *names))), (opening,))
            found = [(symbol, row) for symbol, row in bars_in(read_pages(provider, request)) if symbol == known]
        assert_same_bars(found, [(symbol, row) for symbol, row in self.market().answer(request) if symbol == known])

    @EACH_TIMEFRAME
    @EACH_READER
    def test_an_unknown_symbol_has_no_bars_and_is_no_error(self, timeframe: Timeframe, reader: Reader) -> None:
        """It may be among the ``refused`` symbols of a page."""
        self._needs_a_scripted_market()
        known = self.symbols[0]
        among_others = self._request(timeframe, ONE_DAY, ONE_DAY, symbols=(known, UNKNOWN))
        alone = self._request(timeframe, ONE_DAY, ONE_DAY, symbols=(UNKNOWN,))
        with self._connected(timeframe) as provider:
            assert_same_bars(bars_in(_read(provider, among_others, reader)), self.market().answer(among_others))
            pages = _read(provider, alone, reader)
        assert bars_in(pages) == []
        assert {str(refused.symbol) for page in pages for refused in page.refused} <= {UNKNOWN}
        assert all(pa.table(page.columns).schema.equals(BAR_SCHEMA) for page in pages)

    @EACH_TIMEFRAME
    def test_days_without_bars_are_no_error(self, timeframe: Timeframe) -> None:
        self._needs_a_scripted_market()
        with self._connected(timeframe) as provider:
            pages = _read(provider, self._request(timeframe, *WITHOUT_BARS))
        assert pages, "a request without bars is answered by an empty page"
        assert bars_in(pages) == []
        assert {page.next_cursor for page in pages} == {None}

    @EACH_TIMEFRAME
    @pytest.mark.parametrize("page_size", [1, 7, LARGEST_PAGE])
    def test_any_size_of_page_gives_the_same_bars(self, timeframe: Timeframe, page_size: int) -> None:
        self._needs_a_scripted_market()
        if not self.has_pages:
            pytest.skip("every response of this provider is complete (has_pages is False)")
        market, request = self.market().thinned(THINNED), self._request(timeframe)
        with self._connected(timeframe, page_size, market) as provider:
            answers = [read_pages(provider, part) for part in _parts(provider, request)]
        assert_same_bars([bar for pages in answers for bar in bars_in(pages)], market.answer(request))
        for pages in answers:
            assert max(page.num_rows for page in pages) <= page_size, "a page has more bars than connect() was told"

    def test_a_provider_without_minutes_gives_no_other_bars_in_their_place(self) -> None:
        if self.has_minutes:
            pytest.skip("this provider has minutes (has_minutes is True)")
        request = bars_request(self.symbols, ONE_DAY, ONE_DAY)
        with self.connect(self.market(), USUAL_PAGE) as provider:
            assert _bars_or_refusal(provider, request) == []

    def test_an_ingestion_stores_every_bar(self, tmp_path: Path) -> None:
        with self._connected(Timeframe.MINUTE_1) as provider:
            settings = PipelineConfig(
                provider=provider.capabilities.name,
                symbols=self.symbols,
                start=FIRST,
                end=LAST,
                output_path=tmp_path / "data",
                timeframes=[],
            )
            with Pipeline(settings, market_data_provider=provider, clock=FakeClock()) as pipeline:
                report = pipeline.ingest()
                stored = pipeline.load(self.symbols, FIRST, LAST).to_pylist()
        assert report.ok, report
        expected = self.market().answer(bars_request(self.symbols, FIRST, LAST))
        assert_same_bars([(row.pop("symbol"), row) for row in stored], expected)

    def test_closing_twice_is_harmless(self) -> None:
        with self.connect(self.market(), USUAL_PAGE) as provider:
            provider.close()
            provider.close()

    def _request(
        self, timeframe: Timeframe, first: str = FIRST, last: str = LAST, symbols: Sequence[str] | None = None
    ) -> BarsRequest:
        return bars_request(symbols or self.symbols, first, last, timeframe=timeframe)

    def _connected(
        self, timeframe: Timeframe, page_size: int = USUAL_PAGE, market: Market | None = None
    ) -> AbstractContextManager[MarketDataProvider]:
        """Connect to a provider that has bars of this timeframe, or skip the test."""
        if timeframe is Timeframe.MINUTE_1:
            if not self.has_minutes:
                pytest.skip("this provider has no minutes (has_minutes is False)")
        elif not self._capabilities().official_days:
            pytest.skip("this provider has no official days (capabilities.official_days is False)")
        return self.connect(market or self.market(), page_size)

    def _capabilities(self) -> ProviderCapabilities:
        with self.connect(self.market(), USUAL_PAGE) as provider:
            return provider.capabilities

    def _needs_a_scripted_market(self) -> None:
        if not self.serves_market:
            pytest.skip("this provider makes bars for every symbol and day (serves_market is False)")


def _parts(provider: MarketDataProvider, request: BarsRequest) -> list[BarsRequest]:
    """Return the request in parts that name no more symbols than the provider takes, as the pipeline makes them."""
    allowed = provider.capabilities
    most = allowed.symbols_per_request
    if request.timeframe is Timeframe.DAY_1:
        most = allowed.symbols_per_official_request or most
    groups = (request.symbols[start : start + most] for start in range(0, len(request.symbols), most))
    return [evolve(request, symbols=group) for group in groups]


def _read(provider: MarketDataProvider, request: BarsRequest, reader: Reader = read_pages) -> list[RawMarketData]:
    return [page for part in _parts(provider, request) for page in reader(provider, part)]


def _bars_or_refusal(provider: MarketDataProvider, request: BarsRequest) -> list[tuple[str, BarRow]]:
    try:
        return bars_in(_read(provider, request))
    except ProviderError:
        return []
