"""More of the parts that several threads use at once, with threads that are switched as often as can be."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.metrics import MetricsObserver, PipelineMetrics, StoreLabels, metrics_in
from marketpipe.observers import IngestionCounter, LoggedIsolation
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsValidated, Event, RequestCompleted, RuleFinding, SymbolDaysRecorded
from marketpipe.terminal.progress import follow, progress_bar
from marketpipe.testing import FakeClock, bars_request
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.bar_stores import OnDisk, at, word
from tests.support.builders import columnar, day
from tests.support.clients import AlpacaSetting, exchange
from tests.support.pipeline_ring import TUESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider
from tests.support.threads_at_once import THREADS, at_once

TURNS = 100


class _Slow(int):
    """Lets another thread in whenever it is added to something."""

    def __radd__(self, other: int) -> int:
        time.sleep(0)
        return int(other) + int(self)


class _Watched:
    """As much of a pipeline as a progress follows."""

    def __init__(self, bus: EventBus) -> None:
        self.subscribe = bus.observe


@pytest.fixture(autouse=True)
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def again_and_again_at_once(work: Callable[[], object]) -> None:
    def repeat(_: int) -> None:
        for _ in range(TURNS):
            work()

    at_once(repeat)


def _let_others_in(frame: FrameType, event: str, function: Any) -> None:
    """In the middle of a turn: whenever something was read of the shared file, or pyrate-limiter was asked."""
    asked = event == "return" and "pyrate_limiter" in frame.f_code.co_filename
    if asked or (event == "c_return" and function is os.pread):
        time.sleep(0.0001)


@pytest.mark.parametrize("is_shared", [False, True], ids=["in one process", "among processes"])
def test_a_turn_is_taken_by_one_thread_however_they_are_switched(tmp_path: Path, is_shared: bool) -> None:
    clock, through = FakeClock(), list[int]()
    clock.interrupt()
    limiter = RateLimiter([RateWindow(20)], clock, shared_in=tmp_path / "file" if is_shared else None)

    def ask(number: int) -> None:
        sys.setprofile(_let_others_in)
        for _ in range(10):
            with suppress(IngestionInterrupted):
                limiter.acquire()
                through.append(number)
        sys.setprofile(None)

    at_once(ask)
    limiter.close()

    assert len(through) == 20


def test_a_bus_brings_every_event_to_every_handler_once() -> None:
    bus, seen, counted = EventBus(LoggedIsolation), list[int](), list[int]()
    bus.subscribe(RequestCompleted, lambda event: seen.append(event.bars))
    bus.observe(Event, lambda event: counted.append(event.bars))

    numbers = count()
    again_and_again_at_once(lambda: bus.publish(RequestCompleted("p", 0.1, next(numbers))))

    assert sorted(seen) == sorted(counted) == list(range(THREADS * TURNS))


def test_all_threads_get_the_same_metrics_of_a_registry() -> None:
    """Prometheus refuses to register a name twice."""
    for _ in range(5):
        registry, found = CollectorRegistry(), list[PipelineMetrics]()
        at_once(lambda _, wanted=registry, given=found: given.append(metrics_in(wanted)))  # type: ignore[misc]
        assert len(set(map(id, found))) == 1


def test_metrics_count_what_comes_on_many_threads() -> None:
    bus, registry = EventBus(LoggedIsolation), CollectorRegistry()
    MetricsObserver(lambda: StoreLabels("s", "p", "extended"), metrics_in(registry)).observe(bus)

    again_and_again_at_once(lambda: bus.publish(RequestCompleted("p", 0.1)))

    store = {"store": "s", "provider": "p", "session": "extended"}
    succeeded = {**store, "outcome": "success"}
    assert registry.get_sample_value("marketpipe_requests_total", succeeded) == THREADS * TURNS
    assert registry.get_sample_value("marketpipe_request_latency_seconds_count", store) == THREADS * TURNS


def test_a_tally_counts_what_comes_on_many_threads() -> None:
    bus, tally = EventBus(LoggedIsolation), IngestionCounter()
    tally.observe(bus)
    finding = RuleFinding(day("AAPL", TUESDAY), "no_jump", Severity.WARNING, _Slow(3))
    validated = BarsValidated(bars_request(["AAPL"], TUESDAY, TUESDAY), columnar(), columnar(), (finding,))

    again_and_again_at_once(lambda: (bus.publish(RequestCompleted("p", 0.1)), bus.publish(validated)))

    assert (tally.requests, tally.warnings) == (THREADS * TURNS, {"no_jump": 3 * THREADS * TURNS})


def test_the_progress_counts_what_comes_on_many_threads() -> None:
    recorded = SymbolDaysRecorded(1, "p", (SymbolDayOutcome(day("AAPL", TUESDAY), Outcome.COMPLETE, _Slow(7)),))
    bus, output = EventBus(LoggedIsolation), io.StringIO()
    with progress_bar(Console(file=output, force_terminal=True, width=200)) as show:
        follow(_Watched(bus), show)  # type: ignore[arg-type]
        again_and_again_at_once(lambda: bus.publish(recorded))

    assert f"{7 * THREADS * TURNS:,} bars" in output.getvalue()


def test_a_client_gives_every_thread_its_own_pages() -> None:
    bars = {
        f"S{number}": [record(f"2024-01-02T15:{minute:02d}:00Z", 100.0 + number) for minute in range(40)]
        for number in range(THREADS)
    }
    with AlpacaLoopback(bars, page_size=7) as provider:
        client = AlpacaSetting(exchange(provider.url)).client

        def work(number: int) -> None:
            for _ in range(3):
                pages = list(client.fetch_batch(bars_request([f"S{number}"], TUESDAY, TUESDAY)))
                opens = [value for page in pages for value in pa.table(page.columns)["open"].to_pylist()]
                assert opens == [100.0 + number] * 40

        at_once(work)
        client.close()
        assert len(provider.requests) == THREADS * 3 * 6


def test_a_quarantine_that_comes_in_parts_from_many_threads_loses_no_bar(tmp_path: Path) -> None:
    store, found = OnDisk(tmp_path), day("AAPL", TUESDAY)

    def work(number: int) -> None:
        for turn in range(4):
            rejected = [at(number * 40 + turn * 10 + n, -1.0) for n in range(10)]
            store.store.store(word(found, [], None), columnar((found, rejected), whole=False))

    at_once(work)

    assert sorted(row["timestamp"] for row in store.quarantine(found)) == [at(n)["timestamp"] for n in range(320)]


def test_a_pipeline_that_many_threads_use_first_at_the_same_moment_opens_everything_once(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})
    settings = config(tmp_path, ["AAPL"], TUESDAY, TUESDAY)
    with pipeline(settings, provider) as first:
        first.ingest()
    before = len(os.listdir("/proc/self/fd"))

    with pipeline(settings, provider) as one:
        works = [one.status, one.coverage, one.validate, one.plan, one.ingest]
        at_once(lambda number: works[number % len(works)]() and None)
        assert len(one.load("AAPL", TUESDAY, TUESDAY)) == 4

    assert len(os.listdir("/proc/self/fd")) == before
