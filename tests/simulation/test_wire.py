"""Alpaca's client gets over the wire what the market has, and each fault of the wire makes the difference it names."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from attrs import define, field

from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth
from marketpipe.integration.infrastructure.http_exchange import HttpExchange
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.errors import MarketPipeError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing.bars import bars_request
from tests.simulation.ledger import Delivered, Ledger
from tests.simulation.market import Market
from tests.simulation.pool import SimulatedThreads
from tests.simulation.process import Process
from tests.simulation.rows import in_table
from tests.simulation.scheduler import Scheduler
from tests.simulation.story import Fault, Step, Story, SymbolTraits, Traits
from tests.simulation.wire import Wire
from tests.simulation.wire_faults import EXAMPLES, OF_ANSWERS, OF_REQUESTS
from tests.support.examples import some

BEGINS = Timestamp.parse("2024-03-08T12:00:00Z")
DATES = [TradingDate.parse(f"2024-03-0{day}") for day in (4, 5)]
STORY = Story(5, Traits(requests_per_minute=20), (SymbolTraits("AAA"), SymbolTraits("BBB", 5)))


@define
class TrueClock:
    scheduler: Scheduler

    def now(self) -> Timestamp:
        return BEGINS.plus(timedelta(seconds=self.scheduler.now))


@define
class FakeWorld:
    """The part of a ``World`` that a wire needs, with one process that asks over it."""

    scheduler: Scheduler = field(factory=lambda: Scheduler("5", 1.0))
    market: Market = field(factory=lambda: Market(STORY))
    ledger: Ledger = field(factory=Ledger)
    got: list[Any] = field(factory=list)

    @property
    def clock(self) -> TrueClock:
        return TrueClock(self.scheduler)

    def draw(self, what: str = "") -> Random:
        return Random(f"5/{what}")

    def fetched(self, *faults: Fault, timeframe: Timeframe = Timeframe.MINUTE_1, limit: int = 1000) -> list[Any]:
        """Let a new process ask for two days of both symbols. Returns the rows by symbol, then the error if any."""
        process = Process(self.scheduler, 1001, BEGINS).with_faults(faults)
        request = bars_request(("AAA", "BBB"), "2024-03-04", "2024-03-05", timeframe=timeframe)

        def ask() -> None:
            threads = SimulatedThreads(self.scheduler, process)
            client = _client(process, Wire(self, process), threads, limit)
            try:
                for page in client.fetch_batch(request):
                    start = 0
                    for run in page.runs:
                        rows = in_table(page.columns.slice(start, run.length))
                        self.got += [(str(run.symbol), row) for row in rows]
                        start += run.length
            except MarketPipeError as error:
                self.got.append(error)
            finally:
                client.close()

        self.got.clear()
        self.scheduler.start(process, "main", ask)
        self.scheduler.run()
        assert not self.scheduler.failures
        return self.got

    def answers(self) -> list[Delivered]:
        return [answer for _, _, answer in self.ledger.asked]

    def real(self) -> list[Any]:
        now = self.clock.now()
        return [
            (symbol, row)
            for symbol in ("AAA", "BBB")
            for date in DATES
            for row in self.market.minutes(symbol, date, now).rows()
        ]


def _client(process: Process, wire: Wire, threads: SimulatedThreads, limit: int) -> AlpacaClient:
    return AlpacaClient(
        alpaca_capabilities("iex", "raw", limit),
        HttpExchange("http://127.0.0.1:9", alpaca_auth("key", "secret"), transport=wire),
        RateLimiter([RateWindow(limit)], process.clock),
        process.clock,
        retry=RetryPolicy(uniform=Random(1).uniform),
        new_executor=threads.executor,
    )


def on_wire(detail: str, nth: int = 1) -> Fault:
    return Fault("wire", "GET", nth, detail)


def by_key(rows: list[Any]) -> list[Any]:
    return sorted(rows)


@pytest.mark.parametrize("detail", ["page 10000", "page 7", "by-time", "gzip whole", "timeout-after"])
def test_the_client_gets_what_the_market_has_whatever_the_pages(detail: str) -> None:
    world = FakeWorld()
    assert by_key(world.fetched(on_wire(detail))) == by_key(world.real())


def test_the_ledger_has_each_page_and_which_days_go_on_in_later_ones() -> None:
    world = FakeWorld()
    got = world.fetched(on_wire("page 30"))
    pages = [(asked, page) for _, asked, page in world.ledger.asked if page.bars]
    assert sum(len(bars) for _, page in pages for bars in page.bars.values()) == len(got)
    assert pages[0][1].token == pages[1][0].token != ""
    assert ("BBB", "2024-03-05") in pages[0][1].more
    assert not pages[-1][1].more
    assert {row for symbol, row in got if symbol == "AAA"} == world.ledger.said["AAA"]


def test_official_days_come_from_the_same_endpoint() -> None:
    world = FakeWorld()
    got = world.fetched(timeframe=Timeframe.DAY_1)
    expected = [world.market.official(symbol, date, BEGINS) for symbol in ("AAA", "BBB") for date in DATES]
    assert [row for _, row in got] == [official.row() for official in expected if official is not None]


def test_a_lie_holds_for_the_whole_command() -> None:
    assert FakeWorld().fetched(on_wire("lie empty")) == []
    world = FakeWorld()
    assert len(world.fetched(on_wire("lie even"))) < len(world.real()) * 0.6


def test_what_a_timeout_leaves_open_is_counted_only_if_the_server_had_the_request() -> None:
    before, after = FakeWorld(), FakeWorld()
    assert len(before.fetched(on_wire("timeout-before"))) == len(after.fetched(on_wire("timeout-after")))
    assert after.answers()[0].status == 0
    assert len(after.answers()) == len(before.answers()) + 1


def test_a_body_that_cannot_be_read_is_not_in_the_ledger() -> None:
    for detail in ("truncate", "cut 200", "gzip broken", "message"):
        world = FakeWorld()
        assert by_key(world.fetched(on_wire(detail))) == by_key(world.real())
        assert world.answers()[0].bars is None


def test_an_honest_client_never_meets_the_limit_of_the_account_and_one_that_asks_too_often_is_refused() -> None:
    world = FakeWorld()
    assert by_key(world.fetched(on_wire("page 7"), limit=20)) == by_key(world.real())
    assert 429 not in {answer.status for answer in world.answers()}
    world = FakeWorld()
    for _ in range(8):
        world.market.account.count(BEGINS.epoch_micros / 1e6)
    world.market.account.limit = 5
    world.fetched()
    assert 429 in {answer.status for answer in world.answers()}


def test_a_change_of_the_market_is_on_the_wire_at_once() -> None:
    world = FakeWorld()
    world.market.change(Step(1, str(BEGINS), "day lacking", {"symbol": "AAA", "date": "2024-03-05"}))
    assert not [row for symbol, row in world.fetched() if symbol == "AAA" and row[0] > DATES[1].midnight.epoch_micros]


def test_each_fault_has_an_example() -> None:
    assert {detail.split(" ")[0] for detail in EXAMPLES} == {*OF_REQUESTS, *OF_ANSWERS}


@pytest.mark.parametrize("detail", some(EXAMPLES))
def test_no_fault_of_the_wire_lets_anything_but_our_own_errors_out_of_the_client(detail: str) -> None:
    first, again = _traced(detail), _traced(detail)
    assert first == again


def _traced(detail: str) -> tuple[str, str]:
    world = FakeWorld()
    happened = world.fetched(on_wire("page 30"), on_wire(detail, 2))
    return world.scheduler.trace, repr(happened)
