"""``stop`` from the first moment of a run, ``close`` under a run, and what a closed pipeline answers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marketpipe import (
    BarsRequest,
    BarsStored,
    Event,
    IngestionReport,
    JobStarted,
    MarketPipeError,
    OfficialDaysRequested,
    Pipeline,
    PipelineClosedError,
    SymbolDaysRecorded,
    Timestamp,
)
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.testing import FakeClock, bar
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline, stored_rows
from tests.support.scripted_provider import ScriptedProvider

SYMBOLS = ["AAPL", "MSFT", "NVDA"]
BARS = {symbol: {date: minutes(date) for date in (TUESDAY, WEDNESDAY)} for symbol in SYMBOLS}
PATIENCE = 60


class Waiting(ScriptedProvider):
    """Waits with its answer until ``go``; ``asked`` is set when it is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(BARS, symbols_per_request=1, **options)
        self.reached, self.go = threading.Event(), threading.Event()

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        self.reached.set()
        assert self.go.wait(PATIENCE)
        yield from super().fetch_batch(request)


class WatchedClock(FakeClock):
    """Does something whenever it is read; planning reads it."""

    when_read: Callable[[], None] | None = None

    def now(self) -> Timestamp:
        if self.when_read is not None:
            self.when_read()
        return super().now()


def opened(
    root: Path, provider: ScriptedProvider | None = None, clock: FakeClock | None = None, **changes: Any
) -> Pipeline:
    settings = config(root, SYMBOLS, TUESDAY, WEDNESDAY, workers=1, **changes)
    return pipeline(settings, provider or ScriptedProvider(BARS, symbols_per_request=1), clock)


@contextmanager
def running(made: Pipeline, provider: Waiting) -> Iterator[Callable[[], IngestionReport]]:
    """Ingest on another thread; inside the block the provider has been asked. Yields what waits for the report."""
    with ThreadPoolExecutor(1) as thread:
        called = thread.submit(made.ingest)
        try:
            assert provider.reached.wait(PATIENCE)
            yield lambda: called.result(PATIENCE)
        finally:
            provider.go.set()


@pytest.mark.parametrize("method", ["ingest", "update"])
def test_a_stop_while_the_run_waits_for_its_turn_ends_it_before_anything_is_requested(
    tmp_path: Path, method: str
) -> None:
    provider = Waiting()
    with opened(tmp_path, provider) as made, running(made, provider) as report, ThreadPoolExecutor(1) as thread:
        second = thread.submit(getattr(made, method))
        while len(made._runs._called) < 2:
            time.sleep(0.001)
        made.stop()
        provider.go.set()

        assert (report().state, second.result(PATIENCE).state) == ("interrupted", "interrupted")
        assert len(provider.requests) == 1


def test_a_stop_while_a_run_is_planned_ends_it_before_anything_is_requested(tmp_path: Path) -> None:
    provider, clock = ScriptedProvider(BARS), WatchedClock()
    with opened(tmp_path, provider, clock) as made:
        once = iter([made.stop])
        clock.when_read = lambda: next(once, lambda: None)()
        report = made.ingest()
        assert (report.state, report.left, provider.requests) == ("interrupted", 6, [])

        assert made.ingest().ok, "a stop ends no run that is called later"


def test_a_stop_before_a_run_does_not_stop_it(tmp_path: Path) -> None:
    with opened(tmp_path) as made:
        made.stop()
        assert made.ingest().ok
        made.stop()
        assert made.audit(sample=1.0).ok


def test_a_stop_while_official_days_are_requested_requests_no_minutes(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS, official={s: {d: bar(f"{d}T05:00:00Z") for d in BARS[s]} for s in SYMBOLS})
    with opened(tmp_path, provider) as made:
        made.subscribe(OfficialDaysRequested, lambda _: made.stop())
        assert made.ingest().state == "interrupted"
        assert provider.requests == []


def test_a_stop_ends_the_paging_of_official_days_which_the_next_run_requests_again(tmp_path: Path) -> None:
    official = {s: {d: bar(f"{d}T05:00:00Z") for d in BARS[s]} for s in SYMBOLS}
    with opened(tmp_path, ScriptedProvider(BARS, official=official, page_size=4)) as made:
        once = iter([made.stop])
        made.subscribe(OfficialDaysRequested, lambda _: next(once, lambda: None)())
        stopped = made.ingest()
        assert (stopped.state, stopped.official.answered, stopped.official.left) == ("interrupted", 0, 6)

        assert made.ingest().official.answered == 6


def test_a_stop_during_an_audit_ends_what_would_follow(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS, symbols_per_request=1)
    with opened(tmp_path, provider) as made:
        made.ingest()
        provider.bars = {s: {date: minutes(date, price=7.0) for date in days} for s, days in BARS.items()}
        requests = len(provider.requests)
        made.subscribe(Event, lambda event: made.stop() if type(event).__name__ == "BarsCompared" else None)
        report = made.audit(sample=1.0, adopt=True)
        assert report.adopted is not None
        assert report.adopted.state == "interrupted"
        assert len(provider.requests) == requests + 1
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == BARS["AAPL"][TUESDAY]


def test_aggregates_of_a_stopped_run_are_left_to_the_next_one(tmp_path: Path) -> None:
    with opened(tmp_path, timeframes=["5m"]) as made:
        once = iter([made.stop])
        made.subscribe(SymbolDaysRecorded, lambda _: next(once, lambda: None)())
        report = made.ingest()
        assert (report.state, report.aggregates.written) == ("interrupted", 0)
        assert "the next ingestion" in report.aggregates.failures[0]
        assert made.ingest().aggregates.written == 3


def test_close_under_a_run_stops_it_waits_for_it_and_releases_its_leases(tmp_path: Path) -> None:
    provider = Waiting()
    made = opened(tmp_path, provider)
    with running(made, provider) as report, ThreadPoolExecutor(1) as thread:
        closing = thread.submit(made.close)
        while not made._runs._closing:
            time.sleep(0.001)
        assert not closing.done()
        provider.go.set()
        closing.result(PATIENCE)
        assert report().state == "interrupted"
        assert provider.closed
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == BARS["AAPL"][TUESDAY]

    again, clock = ScriptedProvider(BARS), FakeClock()
    with opened(tmp_path, again, clock) as other:
        assert other.ingest().ok
        assert clock.slept == [], "no lease was left that it had to wait for"
    assert sorted({day.split()[0] for day in again.asked}) == SYMBOLS[1:]


def test_a_run_that_waits_for_its_turn_ends_with_the_pipeline(tmp_path: Path) -> None:
    provider = Waiting()
    made = opened(tmp_path, provider)
    with running(made, provider) as report, ThreadPoolExecutor(2) as threads:
        second = threads.submit(made.ingest)
        while len(made._runs._called) < 2:
            time.sleep(0.001)
        closing = threads.submit(made.close)
        while not made._runs._closing:
            time.sleep(0.001)
        provider.go.set()
        closing.result(PATIENCE)
        assert {report().state, second.result(PATIENCE).state} == {"interrupted"}


@pytest.mark.parametrize("kind", [JobStarted, BarsStored])
def test_an_observer_may_close_the_pipeline_which_ends_with_its_run(tmp_path: Path, kind: type[Event]) -> None:
    provider = ScriptedProvider(BARS, symbols_per_request=1)
    made = opened(tmp_path, provider)
    made.subscribe(kind, lambda _: made.close())
    assert made.ingest().state == "interrupted"
    assert provider.closed
    with pytest.raises(PipelineClosedError):
        made.status()


def test_a_signal_handler_may_close_the_pipeline_which_ends_with_its_run(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS, symbols_per_request=1)
    made = opened(tmp_path, provider)
    made.subscribe(BarsStored, lambda _: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1))
    before = signal.signal(signal.SIGUSR1, lambda *_: made.close())
    try:
        assert made.ingest().state in ("interrupted", "completed")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert provider.closed


CALLS: dict[str, Callable[[Pipeline], object]] = {
    "plan": lambda made: made.plan(),
    "ingest": lambda made: made.ingest(),
    "update": lambda made: made.update(),
    "audit": lambda made: made.audit(sample=1.0),
    "coverage": lambda made: made.coverage(),
    "validate": lambda made: made.validate(),
    "aggregate": lambda made: made.aggregate(),
    "query": lambda made: made.query("SELECT 1"),
    "load": lambda made: made.load("AAPL", TUESDAY, WEDNESDAY),
    "status": lambda made: made.status(),
    "verify": lambda made: made.verify(),
    "freeze": lambda made: made.freeze(),
    "recover": lambda made: made.recover(force=True),
    "subscribe": lambda made: made.subscribe(Event, print),
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    made = opened(tmp_path_factory.mktemp("closed"))
    made.ingest()
    made.close()
    return made


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_pipeline_says_so(closed: Pipeline, name: str) -> None:
    with pytest.raises(PipelineClosedError, match="this Pipeline is closed: make a new one"):
        CALLS[name](closed)
    assert issubclass(PipelineClosedError, MarketPipeError)


def test_closing_twice_and_stopping_a_closed_pipeline_are_harmless(closed: Pipeline) -> None:
    closed.close()
    closed.stop()
    assert closed.config.output_path.exists()
