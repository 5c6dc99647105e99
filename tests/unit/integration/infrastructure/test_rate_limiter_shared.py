from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.infrastructure import rate_limiter as shared_turns
from marketpipe.integration.infrastructure.rate_limiter import RateLimiter, RateWindow
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, StateError
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from tests.support.fake_clock import FakeClock

MICROSECOND = 1e-6


def limiters(file: Path, clock: FakeClock, *windows: RateWindow, count: int = 2) -> list[RateLimiter]:
    """Each with a descriptor of its own, as other processes have."""
    return [RateLimiter(windows, clock, shared_in=file) for _ in range(count)]


def test_nothing_is_made_before_the_first_request(tmp_path: Path) -> None:
    file = tmp_path / "state" / "rate-limit"
    limiter = RateLimiter([RateWindow(1)], FakeClock(), shared_in=file)
    assert not file.parent.exists()

    limiter.acquire()

    assert file.exists()
    limiter.close()


def test_several_share_the_windows(tmp_path: Path) -> None:
    clock, times = FakeClock(), []
    some = limiters(tmp_path / "file", clock, RateWindow(2, seconds=1), RateWindow(5), count=3)
    for number in range(12):
        some[number % 3].acquire()
        times.append(clock.monotonic())
    assert times == pytest.approx([0, 0, 1, 1, 2, 60, 60, 61, 61, 62, 120, 120], abs=1e-4)


def test_a_pause_holds_everybody_and_uses_up_no_window(tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = limiters(tmp_path / "file", clock, RateWindow(3))
    one.pause(30)
    clock.advance(5)
    one.pause(10)
    for limiter in (other, one, other):
        limiter.acquire()
    assert clock.monotonic() == pytest.approx(30.0, abs=MICROSECOND)


def test_a_pause_is_capped(tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = limiters(tmp_path / "file", clock)
    one.pause(1e15)
    other.acquire()
    assert clock.monotonic() == pytest.approx(300.0, abs=MICROSECOND)


def test_other_files_are_not_shared(tmp_path: Path) -> None:
    clock = FakeClock()
    for name in ("one key", "another key"):
        RateLimiter([RateWindow(1)], clock, shared_in=tmp_path / name).acquire()
    assert clock.monotonic() == 0.0


def test_those_who_allow_themselves_different_numbers_count_together(tmp_path: Path) -> None:
    clock = FakeClock()
    (modest,), (greedy,) = (limiters(tmp_path / "file", clock, RateWindow(n), count=1) for n in (2, 5))
    for _ in range(5):
        greedy.acquire()
    assert clock.monotonic() == 0.0
    modest.acquire()
    assert clock.monotonic() == pytest.approx(60.0, abs=MICROSECOND)


@given(
    limit=st.integers(1, 6),
    seconds=st.sampled_from([0.5, 1.0, 7.5, 60.0]),
    paces=st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.3, 2.0, 61.0]), min_size=1, max_size=40),
)
def test_no_window_ever_sees_more_than_its_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: int, seconds: float, paces: list[float]
) -> None:
    clock, times = FakeClock(), []
    some = limiters(tmp_path_factory.mktemp("shared") / "file", clock, RateWindow(limit, seconds))
    for number, pace in enumerate(paces):
        some[number % 2].acquire()
        times.append(clock.monotonic())
        clock.advance(pace)
    for limiter in some:
        limiter.close()
    crowds = [sum(start <= moment < start + seconds - 2 * MICROSECOND for moment in times) for start in times]
    assert max(crowds) <= limit


def test_the_ring_goes_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_turns, "SLOTS", 4)
    clock = FakeClock()
    one, other = limiters(tmp_path / "file", clock, RateWindow(100))
    for _ in range(6):
        one.acquire()
        other.acquire()
    assert clock.monotonic() == pytest.approx(120.0, abs=1e-4)
    assert (tmp_path / "file").stat().st_size == 16 + 4 * 8


def test_what_was_before_the_machine_was_started_counts_for_nothing(tmp_path: Path) -> None:
    before, after = FakeClock(), FakeClock()
    before.advance(1_000_000)
    (old,), (new,) = (limiters(tmp_path / "file", clock, RateWindow(1), count=1) for clock in (before, after))
    old.acquire()
    old.pause(100)

    new.acquire()

    assert after.monotonic() == 0.0
    new.acquire()
    assert after.monotonic() == pytest.approx(60.0, abs=MICROSECOND)


def test_threads_of_several_share_the_windows(tmp_path: Path) -> None:
    """On a clock that stands still, with nobody allowed to sleep: the limit gets through and no one else."""
    clock = FakeClock()
    clock.interrupt()
    some = limiters(tmp_path / "file", clock, RateWindow(100), count=4)

    def attempt(number: int) -> str:
        try:
            some[number % 4].acquire()
        except IngestionInterrupted:
            return "turned away"
        return "through"

    with ThreadPoolExecutor(16) as threads:
        assert Counter(threads.map(attempt, range(1000))) == {"through": 100, "turned away": 900}


def test_a_place_that_cannot_be_written_is_an_error_and_not_a_limit_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    limiter = RateLimiter([RateWindow(1)], FakeClock(), shared_in=tmp_path / "state" / "rate-limit")

    with pytest.raises(
        StateError, match=r"cannot share the rate limit in .*rate-limit: .*; free space or allow writing there"
    ):
        limiter.acquire()
    with pytest.raises(StateError):
        limiter.pause(1)


def test_a_closed_one_opens_again_and_remembers(tmp_path: Path) -> None:
    clock = FakeClock()
    (limiter,) = limiters(tmp_path / "file", clock, RateWindow(1), count=1)
    limiter.acquire()
    limiter.close()
    limiter.close()
    limiter.acquire()
    assert clock.monotonic() == pytest.approx(60.0, abs=MICROSECOND)


def test_a_turn_costs_less_than_a_third_of_a_millisecond(tmp_path: Path) -> None:
    limiter = RateLimiter([RateWindow(100_000)], SystemClock(), shared_in=tmp_path / "file")
    limiter.acquire()
    best = min(_seconds_for(limiter, 200) for _ in range(5))
    assert best / 200 < 0.0003


def _seconds_for(limiter: RateLimiter, count: int) -> float:
    started = time.thread_time()
    for _ in range(count):
        limiter.acquire()
    return time.thread_time() - started
