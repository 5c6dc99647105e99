from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.infrastructure.rate_limiter import LONGEST_PAUSE, RateLimiter, RateWindow
from marketpipe.shared_kernel.domain.errors import ConfigurationError, IngestionInterrupted
from tests.support.fake_clock import FakeClock

MILLISECOND = 0.001


def times_of(count: int, *windows: RateWindow, pace: float = 0.0) -> list[float]:
    """When each of ``count`` acquires got through, on a clock that moves ``pace`` seconds after each."""
    clock = FakeClock()
    limiter, times = RateLimiter(windows, clock), []
    for _ in range(count):
        limiter.acquire()
        times.append(clock.monotonic())
        clock.advance(pace)
    return times


def test_without_windows_nobody_waits() -> None:
    assert times_of(1000) == [0.0] * 1000


def test_25_acquires_at_10_a_minute_take_two_minutes() -> None:
    times = times_of(25, RateWindow(10))
    assert times == pytest.approx([0.0] * 10 + [60.0] * 10 + [120.0] * 5, abs=3 * MILLISECOND)


def test_the_window_slides_with_each_request() -> None:
    """No burst of twice the limit around the turn of a minute."""
    times = times_of(6, RateWindow(3), pace=10.0)
    assert times == pytest.approx([0.0, 10.0, 20.0, 60.0, 70.0, 80.0], abs=2 * MILLISECOND)


def test_every_one_of_several_windows_holds() -> None:
    times = times_of(12, RateWindow(2, seconds=1), RateWindow(5, seconds=60))
    assert times == pytest.approx([0, 0, 1, 1, 2, 60, 60, 61, 61, 62, 120, 120], abs=5 * MILLISECOND)


def test_windows_may_be_given_in_any_order() -> None:
    short, long = RateWindow(2, seconds=1), RateWindow(5, seconds=60)
    assert times_of(12, long, short) == times_of(12, short, long)


@given(
    limit=st.integers(1, 6),
    seconds=st.sampled_from([0.5, 1.0, 7.5, 60.0]),
    paces=st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.3, 2.0, 61.0]), min_size=1, max_size=40),
)
def test_no_window_ever_sees_more_than_its_limit(limit: int, seconds: float, paces: list[float]) -> None:
    clock = FakeClock()
    limiter, times = RateLimiter([RateWindow(limit, seconds)], clock), []
    for pace in paces:
        limiter.acquire()
        times.append(clock.monotonic())
        clock.advance(pace)
    crowds = [sum(start <= moment < start + seconds - MILLISECOND for moment in times) for start in times]
    assert max(crowds) <= limit
    assert all(later >= earlier for earlier, later in pairwise(times))


def test_threads_share_the_windows() -> None:
    """On a clock that stands still, with nobody allowed to sleep: the limit gets through and no one else."""
    clock = FakeClock()
    clock.interrupt()
    limiter = RateLimiter([RateWindow(100)], clock)

    def attempt(_: int) -> str:
        try:
            limiter.acquire()
        except IngestionInterrupted:
            return "turned away"
        return "through"

    with ThreadPoolExecutor(8) as threads:
        assert Counter(threads.map(attempt, range(400))) == {"through": 100, "turned away": 300}


def test_tasks_share_the_windows() -> None:
    clock = FakeClock()
    limiter = RateLimiter([RateWindow(10)], clock)

    async def run() -> None:
        await asyncio.gather(*(limiter.acquire_async() for _ in range(25)))

    asyncio.run(run())
    assert clock.monotonic() == pytest.approx(120.0, abs=3 * MILLISECOND)


def test_sync_and_async_callers_share_the_windows() -> None:
    clock = FakeClock()
    limiter = RateLimiter([RateWindow(2)], clock)
    limiter.acquire()
    asyncio.run(limiter.acquire_async())
    limiter.acquire()
    assert clock.monotonic() == pytest.approx(60.0, abs=2 * MILLISECOND)


def test_a_pause_holds_everybody_until_it_ends() -> None:
    clock, waits = FakeClock(), list[float]()
    limiter = RateLimiter([], clock, waits.append)
    limiter.pause(12.5)
    limiter.acquire()
    assert (clock.monotonic(), waits) == (12.5, [12.5])
    limiter.acquire()
    assert (clock.monotonic(), waits) == (12.5, [12.5])


def test_the_longer_of_two_pauses_holds() -> None:
    clock = FakeClock()
    limiter = RateLimiter([], clock)
    limiter.pause(30)
    clock.advance(5)
    limiter.pause(10)
    limiter.acquire()
    assert clock.monotonic() == 30.0


def test_a_pause_is_capped() -> None:
    clock = FakeClock()
    limiter = RateLimiter([], clock)
    limiter.pause(1e15)
    limiter.acquire()
    assert clock.monotonic() == LONGEST_PAUSE == 300.0


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_pause_of_nothing_is_no_wait(seconds: float) -> None:
    clock, waits = FakeClock(), list[float]()
    limiter = RateLimiter([], clock, waits.append)
    limiter.pause(seconds)
    limiter.acquire()
    assert (clock.monotonic(), waits) == (0.0, [])


def test_a_pause_uses_up_none_of_the_window() -> None:
    clock = FakeClock()
    limiter = RateLimiter([RateWindow(3)], clock)
    limiter.pause(7)
    for _ in range(3):
        limiter.acquire()
    assert clock.monotonic() == 7.0


def test_every_wait_is_heard_of() -> None:
    clock, waits = FakeClock(), list[float]()
    limiter = RateLimiter([RateWindow(1)], clock, waits.append)
    for _ in range(3):
        limiter.acquire()
    assert waits == pytest.approx([60.0, 60.0], abs=2 * MILLISECOND)
    assert waits == clock.slept


def test_an_interruption_passes_through_and_claims_nothing() -> None:
    clock = FakeClock()
    limiter = RateLimiter([RateWindow(1)], clock)
    limiter.acquire()
    clock.interrupt()
    with pytest.raises(IngestionInterrupted):
        limiter.acquire()
    clock.resume()
    clock.advance(60.001)
    limiter.acquire()
    assert clock.slept == []


@pytest.mark.parametrize(("limit", "seconds"), [(0, 60), (-1, 60), (5, 0), (5, -1)])
def test_a_window_is_positive(limit: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        RateWindow(limit, seconds)


@pytest.mark.parametrize(
    "windows",
    [
        (RateWindow(5, 1), RateWindow(5, 60)),
        (RateWindow(10, 1), RateWindow(5, 60)),
        (RateWindow(5), RateWindow(5)),
        (RateWindow(1, 1), RateWindow(100, 60)),
    ],
)
def test_windows_that_cannot_both_matter_are_refused(windows: tuple[RateWindow, ...]) -> None:
    with pytest.raises(ConfigurationError, match="a longer window needs a higher limit"):
        RateLimiter(windows, FakeClock())
