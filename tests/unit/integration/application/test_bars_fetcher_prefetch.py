"""While one page is handled, the next one is fetched: at most one, in order, and with no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from marketpipe.integration.application.bars_fetcher import BarsFetcher
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.errors import ProviderUnavailableError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsExhausted, BarsFetched, BarsRequested
from marketpipe.testing import bar, bar_table, bars_request

DAYS = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08")
REQUEST = bars_request(["AAPL"], DAYS[0], DAYS[-1])
React = Callable[[BarsFetched], None]


class _Provider:
    """Gives one page for each of the first days, then fails or ends. ``requested`` has an event for each page."""

    def __init__(self, pages: int, error: Exception | None = None) -> None:
        self._pages, self._error = pages, error
        self.requested = [threading.Event() for _ in range(pages + 1)]

    def fetch_batch(self, _: Any) -> Iterator[RawMarketData]:
        for number in range(self._pages):
            self.requested[number].set()
            rows = bar_table([bar(f"{DAYS[number]}T15:00:00Z")])
            yield RawMarketData(rows, (SymbolRun(Symbol("AAPL"), 1),), next_cursor=None)
        self.requested[self._pages].set()
        if self._error is not None:
            raise self._error


def fetch(provider: _Provider, react: React = lambda _: None) -> list[str]:
    """Publish a request; return the trading dates whose bars came, and "end" if the provider had no more."""
    bus, came = EventBus(LoggedIsolation), list[str]()
    new_thread = partial(ThreadPoolExecutor, 1, "marketpipe-ahead")
    fetcher = BarsFetcher(provider, WholeDayAssembler, bus, new_thread)  # type: ignore[arg-type]
    bus.subscribe(BarsRequested, fetcher.on_bars_requested)
    bus.subscribe(BarsFetched, lambda event: came.append(str(event.bars.slices[0].symbol_day.trading_date)))
    bus.subscribe(BarsFetched, react)
    bus.subscribe(BarsExhausted, lambda _: came.append("end"))
    try:
        bus.publish(BarsRequested(REQUEST))
    finally:
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("marketpipe-ahead")] == []
    return came


def test_the_next_page_is_fetched_while_one_is_handled() -> None:
    provider, number = _Provider(3), iter(range(1, 4))

    def react(_: BarsFetched) -> None:
        assert provider.requested[next(number)].wait(10)

    assert fetch(provider, react) == [*DAYS[:3], "end"]


def test_no_more_than_one_page_is_fetched_ahead() -> None:
    provider, number = _Provider(4), iter(range(1, 5))

    def react(_: BarsFetched) -> None:
        coming = next(number)
        assert provider.requested[coming].wait(10)
        assert coming == 4 or not provider.requested[coming + 1].wait(0.1)

    fetch(provider, react)


def test_every_page_comes_once_and_in_order() -> None:
    assert fetch(_Provider(5)) == [*DAYS, "end"]


def test_an_error_comes_after_the_pages_before_it() -> None:
    handled = list[BarsFetched]()
    with pytest.raises(ProviderUnavailableError):
        fetch(_Provider(2, ProviderUnavailableError("503")), handled.append)
    assert len(handled) == 2


def test_an_error_in_a_handler_leaves_no_thread_behind() -> None:
    def react(_: BarsFetched) -> None:
        raise StorageError("disk full")

    with pytest.raises(StorageError):
        fetch(_Provider(3), react)
