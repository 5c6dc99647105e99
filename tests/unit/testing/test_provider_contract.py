"""The contract of providers fails for whoever breaks it, and for nobody else."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from attrs import evolve

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import BadRequestError, ProviderError, SymbolRefusedError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.testing import BarRow, Market, MarketDataProviderContract, read_pages, read_pages_async
from tests.support.market_provider import CAPABILITIES, MarketProvider, page_of, with_capabilities

Bars = Sequence[tuple[str, BarRow]]
MINUTE, DAY = Timeframe.MINUTE_1, Timeframe.DAY_1


class Contract(MarketDataProviderContract):
    """The contract of one class of providers in memory; not called ``Test…``, so that pytest does not collect it."""

    def __init__(self, kind: type[MarketProvider], capabilities: ProviderCapabilities = CAPABILITIES) -> None:
        self.kind, self.capabilities = kind, capabilities

    @contextmanager
    def connect(self, market: Market, page_size: int) -> Iterator[MarketDataProvider]:
        provider = self.kind(market, page_size, self.capabilities)
        yield provider
        provider.close()


class LosesTheLastBar(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        return super().bars(request)[:-1]


class GivesAnotherSymbolToo(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        return [*super().bars(request), ("ZZZZ", self.market.bars["AAPL"][0])]


class Descends(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        return super().bars(request)[::-1]


class IgnoresTheHours(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        sessions = (evolve(asked, window=asked.session.extended) for asked in request.sessions)
        return super().bars(evolve(request, sessions=tuple(sessions)))


class IncludesTheEnd(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        ends = {asked.window.end for asked in request.sessions}
        at_the_end = [
            (str(symbol), row)
            for symbol in request.symbols
            for row in self.market.bars[str(symbol)]
            if Timestamp(row["timestamp"]) in ends
        ]
        return sorted([*super().bars(request), *at_the_end], key=lambda bar: (bar[0], bar[1]["timestamp"]))


class LacksAColumn(MarketProvider):
    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        for page in super().fetch_batch(request):
            yield evolve(page, columns=pa.table(page.columns).drop_columns(["vwap"]))


class CountsItsRowsWrong(MarketProvider):
    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        for page in super().fetch_batch(request):
            yield evolve(page, runs=page.runs[:-1])


class HasLargerPagesThanItSays(MarketProvider):
    def __init__(self, market: Market, page_size: int, capabilities: ProviderCapabilities) -> None:
        super().__init__(market, page_size, capabilities)
        self.capabilities = evolve(capabilities, bars_per_page=3)


class NeverEnds(MarketProvider):
    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        for page in super().fetch_batch(request):
            yield evolve(page, next_cursor=page.next_cursor or "more")


class RepeatsACursor(MarketProvider):
    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        for page in super().fetch_batch(request):
            yield evolve(page, next_cursor=page.next_cursor and "again")


class ForgetsOnTheSecondCall(MarketProvider):
    calls = 0

    def bars(self, request: BarsRequest) -> Bars:
        self.calls += 1
        return super().bars(request) if self.calls == 1 else []


class IsEmptyOnAnEventLoop(MarketProvider):
    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        yield page_of([])


class KeepsTheRequestInAField(MarketProvider):
    """Threads that share it get the answer to the request that came last."""

    def __init__(self, market: Market, page_size: int, capabilities: ProviderCapabilities) -> None:
        super().__init__(market, page_size, capabilities)
        self.request: BarsRequest | None = None
        self.all_have_asked = threading.Barrier(6)

    def bars(self, request: BarsRequest) -> Bars:
        self.request = request
        self.all_have_asked.wait(timeout=20)
        return super().bars(self.request)


class IsBusyUntilTheLastPage(MarketProvider):
    busy = False

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        assert not self.busy, "another request is not at its end"
        self.busy = True
        yield from super().fetch_batch(request)
        self.busy = False


class HasAFeedWithoutAName(MarketProvider):
    def __init__(self, market: Market, page_size: int, capabilities: ProviderCapabilities) -> None:
        super().__init__(market, page_size, evolve(capabilities, feed=evolve(capabilities.feed, name="")))


class TakesFewerSymbolsThanItSays(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        if len(request.symbols) > 100:
            raise BadRequestError("too many symbols")
        return super().bars(request)


class RaisesForAnUnknownSymbol(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        for symbol in map(str, request.symbols):
            if symbol not in self.market.bars:
                raise SymbolRefusedError("no such symbol", symbol)
        return super().bars(request)


class HasNoPageWithoutBars(MarketProvider):
    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        return (page for page in super().fetch_batch(request) if page.num_rows)


class DropsTheFirstBarOfEachPage(MarketProvider):
    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        bars = self.bars(request)
        for start in range(0, len(bars), self.page_size):
            rest = islice(bars, start + (start > 0), start + self.page_size)
            yield page_of(list(rest), str(start) if start + self.page_size < len(bars) else None)


class IgnoresThePageSize(MarketProvider):
    def __init__(self, market: Market, _: int, capabilities: ProviderCapabilities) -> None:
        super().__init__(market, 1_000_000, capabilities)


class GivesDaysForMinutes(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        return [(str(symbol), row) for symbol in request.symbols for row in self.market.official[str(symbol)]]


class ReturnsAList(MarketProvider):
    """``list(…)`` of it works, and the pipeline, which takes one page after another, fails."""

    def fetch_batch(self, request: BarsRequest) -> Any:
        return list(super().fetch_batch(request))


class CannotBeClosedTwice(MarketProvider):
    is_closed = False

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


READERS = {"reader": read_pages}, {"reader": read_pages_async}
TIMEFRAMES = {"timeframe": MINUTE}, {"timeframe": DAY}
PROOFS: list[tuple[type[MarketProvider], str, dict[str, Any]]] = [
    *(
        (LosesTheLastBar, "every_requested_bar_is_returned_and_no_other", reader | timeframe)
        for reader in READERS
        for timeframe in TIMEFRAMES
    ),
    (GivesAnotherSymbolToo, "every_requested_bar_is_returned_and_no_other", READERS[0] | TIMEFRAMES[0]),
    *((Descends, "symbols_ascend_and_then_time", timeframe) for timeframe in TIMEFRAMES),
    (IgnoresTheHours, "all_bars_are_in_the_requested_hours", {"kind": SessionKind.REGULAR}),
    (LosesTheLastBar, "all_bars_are_in_the_requested_hours", {"kind": SessionKind.EXTENDED}),
    (IncludesTheEnd, "a_bar_at_the_end_of_the_window_is_not_returned", {}),
    *(
        (kind, "pages_have_the_canonical_columns_and_runs_that_cover_them", timeframe)
        for kind in (LacksAColumn, CountsItsRowsWrong, HasLargerPagesThanItSays)
        for timeframe in TIMEFRAMES
    ),
    *((NeverEnds, "the_last_page_alone_has_no_next_cursor", reader | TIMEFRAMES[1]) for reader in READERS),
    (RepeatsACursor, "the_last_page_alone_has_no_next_cursor", READERS[0] | TIMEFRAMES[0]),
    *((ForgetsOnTheSecondCall, "the_same_request_gets_the_same_response", timeframe) for timeframe in TIMEFRAMES),
    *((IsEmptyOnAnEventLoop, "async_pages_equal_sync_pages", timeframe) for timeframe in TIMEFRAMES),
    *((KeepsTheRequestInAField, "threads_may_share_a_provider", timeframe) for timeframe in TIMEFRAMES),
    (IsBusyUntilTheLastPage, "a_reader_that_stops_early_leaves_the_provider_usable", TIMEFRAMES[0]),
    (ForgetsOnTheSecondCall, "a_reader_that_stops_early_leaves_the_provider_usable", TIMEFRAMES[1]),
    (HasAFeedWithoutAName, "capabilities_are_ones_that_a_scheduler_can_work_with", {}),
    (TakesFewerSymbolsThanItSays, "as_many_symbols_as_the_capabilities_allow_fit_into_one_request", {}),
    *((RaisesForAnUnknownSymbol, "an_unknown_symbol_has_no_bars_and_is_no_error", READERS[0] | t) for t in TIMEFRAMES),
    *((HasNoPageWithoutBars, "days_without_bars_are_no_error", timeframe) for timeframe in TIMEFRAMES),
    *((DropsTheFirstBarOfEachPage, "any_size_of_page_gives_the_same_bars", {"page_size": 7} | t) for t in TIMEFRAMES),
    (IgnoresThePageSize, "any_size_of_page_gives_the_same_bars", {"page_size": 7} | TIMEFRAMES[0]),
    (ReturnsAList, "an_ingestion_stores_every_bar", {}),
    (CannotBeClosedTwice, "closing_twice_is_harmless", {}),
]


def run(contract: MarketDataProviderContract, test: str, arguments: dict[str, Any], folder: Path) -> None:
    """Run one test; fail if it is skipped, as a skip would skip the test that calls this."""
    method: Callable[..., None] = getattr(contract, f"test_{test}")
    folders = {"tmp_path": folder} if "tmp_path" in inspect.signature(method).parameters else {}
    try:
        method(**arguments, **folders)
    except pytest.skip.Exception as skipped:
        raise RuntimeError(f"{test} was skipped: {skipped}") from skipped


def _id(value: object) -> str | None:
    return value.__name__ if isinstance(value, type) else "" if isinstance(value, dict) else None


@pytest.mark.parametrize(("kind", "test", "arguments"), PROOFS, ids=_id)
def test_a_provider_that_breaks_the_contract_fails(
    kind: type[MarketProvider], test: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, ProviderError, TypeError)):
        run(Contract(kind), test, arguments, tmp_path)


def test_every_test_of_the_contract_has_a_provider_that_fails_it() -> None:
    tests = {name.removeprefix("test_") for name in dir(MarketDataProviderContract) if name.startswith("test_")}
    proven = {test for _, test, _ in PROOFS} | {"a_provider_without_minutes_gives_no_other_bars_in_their_place"}
    assert proven == tests


def test_a_provider_without_minutes_that_gives_days_in_their_place_fails(tmp_path: Path) -> None:
    class DailyOnly(Contract):
        has_minutes = False

    test = "a_provider_without_minutes_gives_no_other_bars_in_their_place"
    with pytest.raises(AssertionError):
        run(DailyOnly(GivesDaysForMinutes), test, {}, tmp_path)


class WithoutMinutes(Contract):
    has_minutes = False


class WithoutPages(Contract):
    has_pages = False


class WithBarsOfItsOwn(Contract):
    serves_market = False


class HasNoVwap(MarketProvider):
    def bars(self, request: BarsRequest) -> Bars:
        return [(symbol, {**row, "vwap": None}) for symbol, row in super().bars(request)]


class WithoutVwap(Contract):
    absent_columns = ("vwap",)


@pytest.mark.parametrize(
    ("test", "arguments"),
    [
        ("every_requested_bar_is_returned_and_no_other", READERS[0] | TIMEFRAMES[0]),
        ("every_requested_bar_is_returned_and_no_other", READERS[0] | TIMEFRAMES[1]),
        ("an_ingestion_stores_every_bar", {}),
    ],
    ids=_id,
)
def test_a_provider_without_a_column_says_so_or_is_told_how(
    test: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    run(WithoutVwap(HasNoVwap), test, arguments, tmp_path / "said")
    with pytest.raises(AssertionError, match=r'set absent_columns = \("vwap",\)'):
        run(Contract(HasNoVwap), test, arguments, tmp_path / "unsaid")


def test_bars_that_differ_are_shown_by_the_first_of_them() -> None:
    test = "every_requested_bar_is_returned_and_no_other"
    with pytest.raises(AssertionError, match=r"bars, expected \d+; the first that differs is none, expected \('MSFT'"):
        run(Contract(LosesTheLastBar), test, READERS[0] | TIMEFRAMES[0], Path())


def test_a_column_that_bars_need_cannot_be_absent() -> None:
    class WithoutVolume(Contract):
        absent_columns = ("volume",)

    with pytest.raises(ValueError, match="bars need 'volume'; only trade_count and vwap may be absent"):
        WithoutVolume(MarketProvider).market()


@pytest.mark.parametrize(
    ("contract", "test", "arguments", "reason"),
    [
        (WithoutMinutes, "the_same_request_gets_the_same_response", TIMEFRAMES[0], "no minutes"),
        (WithoutMinutes, "an_ingestion_stores_every_bar", {}, "no minutes"),
        (WithoutPages, "any_size_of_page_gives_the_same_bars", {"page_size": 7} | TIMEFRAMES[0], "is complete"),
        (WithBarsOfItsOwn, "days_without_bars_are_no_error", TIMEFRAMES[0], "makes bars for every symbol"),
        (Contract, "the_same_request_gets_the_same_response", TIMEFRAMES[1], "no official days"),
        (Contract, "a_provider_without_minutes_gives_no_other_bars_in_their_place", {}, "has minutes"),
    ],
    ids=_id,
)
def test_what_does_not_apply_is_skipped_with_a_reason(
    contract: type[Contract], test: str, arguments: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=f"was skipped: .*{reason}"):
        run(contract(MarketProvider, with_capabilities(official_days=False)), test, arguments, tmp_path)
