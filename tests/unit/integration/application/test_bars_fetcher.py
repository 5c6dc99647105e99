from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from attrs import evolve

from marketpipe.integration.application.bars_fetcher import BarsFetcher
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    ProviderError,
    ProviderUnavailableError,
    StorageError,
    WrongAnswerError,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsExhausted, BarsFetched, BarsRequested, RefusedSymbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bar, bar_table, bars_request

ASKED = bars_request(("AAPL", "MSFT"), "2024-03-11", "2024-03-12")
MONDAY, TUESDAY = "2024-03-11T13:30:00Z", "2024-03-12T13:30:00Z"
NOTHING = BAR_SCHEMA.empty_table()


class ScriptedProvider:
    """Gives prepared pages, raising those that are errors; ``log`` remembers when each was requested."""

    def __init__(self, pages: Sequence[RawMarketData | Exception], log: list[str]) -> None:
        self._pages, self._log = pages, log

    def fetch_batch(self, _: BarsRequest) -> Iterator[RawMarketData]:
        for number, page in enumerate(self._pages, 1):
            self._log.append(f"page {number}")
            if isinstance(page, Exception):
                raise page
            yield page


class LazyExecutor(Executor):
    """Runs a task when its result is used, so that nothing is fetched ahead and the order of events is certain."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.result = lambda _=None: fn(*args, **kwargs)  # type: ignore[method-assign]
        return future


class Scene:
    """A bus with a fetcher on it, and everything that happens on it in order."""

    def __init__(
        self,
        *pages: RawMarketData | Exception,
        react: Callable[[BarsFetched], None] | None = None,
        asked: BarsRequest = ASKED,
    ) -> None:
        self.log: list[str] = []
        self.exhausted: list[BarsExhausted] = []
        self._asked = asked
        self._bus = EventBus(LoggedIsolation)
        provider = ScriptedProvider(pages, self.log)
        fetcher = BarsFetcher(provider, WholeDayAssembler, self._bus, LazyExecutor)  # type: ignore[arg-type]
        self._bus.subscribe(BarsRequested, fetcher.on_bars_requested)
        self._bus.subscribe(BarsFetched, self._note)
        self._bus.subscribe(BarsExhausted, self.exhausted.append)
        if react is not None:
            self._bus.subscribe(BarsFetched, react)

    def play(self) -> list[str]:
        self._bus.publish(BarsRequested(self._asked))
        return self.log

    def _note(self, event: BarsFetched) -> None:
        assert event.request is self._asked
        self.log.append(", ".join(f"{part.symbol_day}: {part.length}" for part in event.bars.slices))


def page(*parts: tuple[str, str], cursor: str | None = None, unrequested: int = 0) -> RawMarketData:
    rows = bar_table([bar(moment) for _, moment in parts])
    return RawMarketData(rows, tuple(SymbolRun(Symbol(name), 1) for name, _ in parts), cursor, (), unrequested)


def test_complete_symbol_days_are_handled_before_the_next_page_is_used() -> None:
    scene = Scene(
        page(("AAPL", MONDAY), ("AAPL", TUESDAY), cursor="2"),
        page(("AAPL", "2024-03-12T13:31:00Z"), ("MSFT", MONDAY), cursor="3"),
        page(("MSFT", TUESDAY)),
    )
    assert scene.play() == [
        "page 1",
        "AAPL 2024-03-11: 1",
        "page 2",
        "AAPL 2024-03-12: 2",
        "page 3",
        "MSFT 2024-03-11: 1, MSFT 2024-03-12: 1",
    ]
    assert scene.exhausted == [BarsExhausted(ASKED)]


def test_a_symbol_day_held_back_is_published_when_the_pages_end_without_bars() -> None:
    scene = Scene(page(("AAPL", MONDAY), cursor="2"), page(cursor="3"), page())
    assert scene.play() == ["page 1", "page 2", "page 3", "AAPL 2024-03-11: 1"]
    assert len(scene.exhausted) == 1


def test_without_bars_only_bars_exhausted_is_published() -> None:
    scene = Scene(page())
    assert scene.play() == ["page 1"]
    assert scene.exhausted == [BarsExhausted(ASKED, (), 0)]


def test_bars_exhausted_reports_refused_symbols_and_unrequested_bars() -> None:
    refused = RefusedSymbol(Symbol("MSFT"), "invalid symbol: MSFT")
    scene = Scene(
        RawMarketData(NOTHING, refused=(refused,)),
        page(("AAPL", MONDAY), cursor="2", unrequested=3),
        page(("AAPL", TUESDAY), ("AAPL", "2024-04-01T13:30:00Z"), unrequested=2),
    )
    scene.play()
    assert scene.exhausted == [BarsExhausted(ASKED, (refused,), 6)]


@pytest.mark.parametrize(
    "pages",
    [
        [page(("AAPL", MONDAY), ("AAPL", TUESDAY), ("MSFT", MONDAY), unrequested=1)],
        [page(("AAPL", MONDAY), ("AAPL", TUESDAY), ("MSFT", MONDAY), ("TSLA", TUESDAY))],
        [page(("AAPL", MONDAY), ("AAPL", TUESDAY), ("MSFT", MONDAY), ("MSFT", "2024-03-13T13:30:00Z"))],
        [
            page(("AAPL", MONDAY), ("AAPL", TUESDAY), ("MSFT", MONDAY), cursor="2"),
            page(("MSFT", "2024-03-08T15:00:00Z")),
        ],
    ],
    ids=["counted by the client", "another symbol", "another date", "on another page"],
)
def test_other_bars_in_place_of_a_symbol_day_do_not_make_it_empty(pages: list[RawMarketData]) -> None:
    scene = Scene(*pages)
    with pytest.raises(WrongAnswerError, match=r"1 bar of other .* and none of MSFT 2024-03-12$"):
        scene.play()
    assert "AAPL 2024-03-11: 1" in " ".join(scene.log)  # what was answered is kept
    assert scene.exhausted == []


def test_other_bars_beside_all_that_was_requested_are_dropped_and_reported() -> None:
    parts = [(symbol, moment) for symbol in ("AAPL", "MSFT") for moment in (MONDAY, TUESDAY)]
    scene = Scene(page(*parts, ("TSLA", MONDAY), unrequested=4))
    scene.play()
    assert scene.exhausted == [BarsExhausted(ASKED, (), 5)]


def test_a_day_that_is_not_final_may_be_without_bars_beside_others() -> None:
    *_, last = ASKED.sessions
    asked = evolve(ASKED, symbols=ASKED.symbols[:1], sessions=(ASKED.sessions[0], evolve(last, final=False)))
    scene = Scene(page(("AAPL", MONDAY), ("AAPL", "2024-03-08T15:00:00Z")), asked=asked)
    scene.play()
    assert [event.unrequested for event in scene.exhausted] == [1]


@pytest.mark.parametrize("moment", ["2024-03-11T04:00:00Z", "2024-03-12T04:00:00Z"])
def test_daily_bars_in_place_of_minutes_are_refused(moment: str) -> None:
    scene = Scene(page(("AAPL", moment)))
    with pytest.raises(WrongAnswerError, match="another timeframe than 1m"):
        scene.play()


def test_a_provider_error_reaches_the_publisher_and_bars_exhausted_is_not_published() -> None:
    scene = Scene(page(("AAPL", MONDAY), cursor="2"), ProviderUnavailableError("gone"))
    with pytest.raises(ProviderError, match="gone"):
        scene.play()
    assert scene.log == ["page 1", "page 2"]
    assert scene.exhausted == []


def test_an_error_in_storing_stops_the_paging() -> None:
    def fail(_: BarsFetched) -> None:
        raise StorageError("disk full")

    scene = Scene(page(("AAPL", MONDAY), ("AAPL", TUESDAY), cursor="2"), page(("MSFT", TUESDAY)), react=fail)
    with pytest.raises(StorageError, match="disk full"):
        scene.play()
    assert scene.log == ["page 1", "AAPL 2024-03-11: 1"]
    assert scene.exhausted == []


def test_each_request_has_its_own_assembler() -> None:
    scene = Scene(page(("AAPL", MONDAY)))
    assert scene.play() == ["page 1", "AAPL 2024-03-11: 1"]
    assert scene.play()[2:] == ["page 1", "AAPL 2024-03-11: 1"]
    assert len(scene.exhausted) == 2
