from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.events import (
    BarsStored,
    JobFinished,
    JobStarted,
    LeasesAwaited,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    SymbolDaysRecorded,
)
from marketpipe.terminal.progress import progress_line
from marketpipe.terminal.run_counts import RunCounts
from marketpipe.testing import FakeClock, bars_request
from tests.support.builders import day

TUESDAY = "2024-01-02"

UNAVAILABLE = "alpaca answered 503: Service Unavailable"


def recorded(rows: int, days: int = 1) -> SymbolDaysRecorded:
    return SymbolDaysRecorded(1, "p", (SymbolDayOutcome(day("AAPL", TUESDAY), Outcome.COMPLETE, rows),) * days)


def started(planned: int, clock: FakeClock) -> RunCounts:
    counts = RunCounts(clock.monotonic)
    counts.add(JobStarted(1, "p", planned, 5, 1))
    return counts


def test_a_wait_for_the_rate_limit_counts_down_and_ends() -> None:
    clock = FakeClock()
    counts = RunCounts(clock.monotonic)
    counts.add(RateLimitWaited("p", 42.0))
    assert list(counts.waits()) == ["rate limit: 42 s"]
    clock.advance(12)
    counts.add(RequestCompleted("p", 0.1))  # of another worker: the others still wait
    assert list(counts.waits()) == ["rate limit: 30 s"]
    clock.advance(30)
    assert list(counts.waits()) == []


def test_a_wait_for_another_process_counts_up_until_the_run_goes_on() -> None:
    clock = FakeClock()
    counts = started(2, clock)
    counts.add(LeasesAwaited(2, 0.0, ("process 4711",)))
    clock.advance(12)
    assert list(counts.waits()) == ["waiting for process 4711: 12 s"]
    counts.add(LeasesAwaited(2, 20.0, ("process 4711", "process 4712")))
    assert list(counts.waits()) == ["waiting for process 4711 and 1 other: 20 s"]
    counts.add(recorded(390))
    assert list(counts.waits()) == []


def test_pacing_is_no_wait() -> None:
    counts = RunCounts(FakeClock().monotonic)
    counts.add(RateLimitWaited("p", 0.3))
    assert list(counts.waits()) == []


def test_a_provider_in_trouble_is_named_until_it_answers() -> None:
    clock = FakeClock()
    counts = RunCounts(clock.monotonic)
    counts.add(RequestCompleted("p", 0.1, error_kind="unavailable"))
    counts.add(RequestRetried("p", 2, 4.0, UNAVAILABLE))
    assert list(counts.waits()) == ["provider: HTTP 503, try 3 in 4 s"]
    clock.advance(10)
    assert list(counts.waits()) == ["provider: HTTP 503, try 3"]
    counts.add(RequestCompleted("p", 0.1))
    assert list(counts.waits()) == []
    assert (counts.retries, counts.requests) == (1, 2)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("the connection broke (RemoteProtocolError: peer closed)", "provider: the connection broke, try 2"),
        (
            "cannot connect to data.alpaca.markets (Name or service not known): check the network",
            "provider: Name or service not known, try 2",
        ),
        ("", "provider: no answer, try 2"),
        ("x" * 50, f"provider: {'x' * 31}…, try 2"),
    ],
)
def test_another_fault_of_the_provider_is_named_in_short(reason: str, expected: str) -> None:
    counts = RunCounts(FakeClock().monotonic)
    counts.add(RequestRetried("p", 1, 0.0, reason))
    assert list(counts.waits()) == [expected]


def test_the_time_to_go_comes_from_the_pace_so_far_and_includes_the_present_wait() -> None:
    clock = FakeClock()
    counts = started(100, clock)
    assert counts.seconds_left() is None
    clock.advance(10)
    counts.add(recorded(390, days=50))
    assert counts.seconds_left() == pytest.approx(10)
    counts.add(RateLimitWaited("p", 42.0))
    assert counts.seconds_left() == pytest.approx(52)  # as for the first half
    clock.advance(40)
    assert counts.seconds_left() == pytest.approx(12)


def test_under_a_rate_limit_the_time_to_go_neither_rises_nor_swings() -> None:
    clock, shown = FakeClock(), list[float]()
    counts = started(1000, clock)
    for _ in range(5):  # 200 days in 5 seconds, then 55 of waiting: 245 seconds in all
        for _ in range(5):
            clock.advance(1)
            counts.add(recorded(390, days=40))
            counts.add(RateLimitWaited("p", 0.02))
            shown.append(245 - clock.monotonic() - (counts.seconds_left() or 0.0))
        counts.add(RateLimitWaited("p", 55.0))
        for _ in range(11 * (counts.done < 1000)):
            shown.append(245 - clock.monotonic() - (counts.seconds_left() or 0.0))
            clock.advance(5)
    assert max(map(abs, shown[5:])) <= 5.1, "before the first wait nothing is known of the limit"


def test_when_waits_have_ended_the_pace_is_that_of_the_run_again() -> None:
    clock = FakeClock()
    counts = started(1000, clock)
    clock.advance(10)
    counts.add(recorded(390, days=100))
    counts.add(RateLimitWaited("p", 30.0))
    clock.advance(190)
    counts.add(recorded(390, days=400))
    assert counts.seconds_left() == pytest.approx(200)


def test_a_wait_that_is_longer_than_the_rest_would_take_counts_as_a_whole() -> None:
    clock = FakeClock()
    counts = started(100, clock)
    clock.advance(5)
    counts.add(recorded(390, days=90))
    counts.add(RateLimitWaited("p", 55.0))
    assert counts.seconds_left() == pytest.approx(55)


def test_the_pace_is_shown_only_while_the_run_lasts() -> None:
    clock = FakeClock()
    counts = started(2, clock)
    clock.advance(2)
    counts.add(recorded(390))
    assert counts.pace() == pytest.approx(195)
    counts.add(recorded(390))
    clock.advance(60)
    assert (counts.pace(), counts.elapsed(), counts.percent) == (None, 2.0, 100)


def test_nothing_is_waited_for_after_the_job() -> None:
    counts = started(1, FakeClock())
    counts.add(RateLimitWaited("p", 42.0))
    counts.add(RequestRetried("p", 1, 4.0, UNAVAILABLE))
    counts.add(JobFinished(1, "p", "interrupted"))
    assert (counts.activity, list(counts.waits())) == ("interrupted", [])


def test_events_that_are_not_counted_are_told_apart() -> None:
    assert not RunCounts(FakeClock().monotonic).add(BarsStored(bars_request(["AAPL"], TUESDAY, TUESDAY), ()))


def test_an_interrupted_run_has_neither_a_pace_nor_time_to_go() -> None:
    clock = FakeClock()
    counts = started(4, clock)
    clock.advance(10)
    counts.add(recorded(390))
    assert not counts.has_ended
    counts.add(JobFinished(1, "p", "interrupted"))
    clock.advance(60)
    assert counts.has_ended
    assert counts.elapsed() == 10
    assert counts.pace() is None
    assert "interrupted" in progress_line(counts, 80).plain
    assert "1/4 25% in 0:00:10" in progress_line(counts, 80).plain
