from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import (
    LONGEST_PAUSE,
    InMemoryRateLimit,
    RateLimiter,
    RateWindow,
)
from marketpipe.shared_kernel.domain.errors import ConfigurationError, IngestionInterrupted
from marketpipe.testing import FakeClock

MILLISECOND = 0.001


def times_of(count: int, *windows: RateWindow, pace: float = 0.0) -> list[float]:
    """Return when each of ``count`` calls of acquire returned, on a clock that moves ``pace`` seconds after each."""
    clock = FakeClock()
    limiter, times = RateLimiter(windows, clock), []
    for _ in range(count):
        limiter.acquire()
        times.append(clock.monotonic())
        clock.advance(pace)
    return times


def test_without_windows_there_is_no_wait() -> None:
    assert times_of(1000) == [0.0] * 1000


def test_25_acquires_at_10_a_minute_take_two_minutes() -> None:
    times = times_of(25, RateWindow(10))
    assert times == pytest.approx([0.0] * 10 + [60.0] * 10 + [120.0] * 5, abs=3 * MILLISECOND)


def test_the_window_slides_with_each_request() -> None:
    """There is no burst of twice the limit around a full minute."""
    times = times_of(6, RateWindow(3), pace=10.0)
    assert times == pytest.approx([0.0, 10.0, 20.0, 60.0, 70.0, 80.0], abs=2 * MILLISECOND)


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


def test_a_pause_holds_until_it_ends() -> None:
    clock, waits = FakeClock(), list[float]()
    limiter = RateLimiter([], clock, waits.append)
    limiter.pause(12.5)
    limiter.acquire()
    assert (clock.monotonic(), waits) == (12.5, [12.5])
    limiter.acquire()
    assert (clock.monotonic(), waits) == (12.5, [12.5])


def test_a_pause_is_capped() -> None:
    clock = FakeClock()
    limiter = RateLimiter([], clock)
    limiter.pause(1e15)
    limiter.acquire()
    assert clock.monotonic() == LONGEST_PAUSE == 300.0


def test_every_wait_is_reported() -> None:
    clock, waits = FakeClock(), list[float]()
    limiter = RateLimiter([RateWindow(1)], clock, waits.append)
    for _ in range(3):
        limiter.acquire()
    assert waits == pytest.approx([60.0, 60.0], abs=2 * MILLISECOND)
    assert waits == clock.slept


def test_an_interruption_passes_through_and_takes_no_turn() -> None:
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


def test_windows_are_checked_whether_they_are_shared_or_not(tmp_path: Path) -> None:
    for shared_in in (None, tmp_path / "file"):
        with pytest.raises(ConfigurationError, match="the longer of two windows needs a higher limit"):
            RateLimiter((RateWindow(5, 1), RateWindow(5, 60)), FakeClock(), shared_in=shared_in)


def test_other_shared_turns_may_be_given() -> None:
    clock = FakeClock()
    turns = InMemoryRateLimit([RateWindow(1)], clock)
    for _ in range(2):
        RateLimiter([], clock, shared_in=turns).acquire()
    assert clock.monotonic() == pytest.approx(60.0, abs=2 * MILLISECOND)
