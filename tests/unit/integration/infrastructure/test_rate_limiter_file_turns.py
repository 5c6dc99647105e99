from __future__ import annotations

import time
from pathlib import Path

import pytest

from marketpipe.integration.infrastructure import rate_limiter
from marketpipe.integration.infrastructure.rate_limiter import RateLimiter, RateWindow
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from tests.support.fake_clock import FakeClock

MICROSECOND = 1e-6


def limiters(file: Path, clock: FakeClock, *windows: RateWindow, count: int = 2) -> list[RateLimiter]:
    """Return limiters with a descriptor each, as other processes have."""
    return [RateLimiter(windows, clock, shared_in=file) for _ in range(count)]


def test_the_file_is_created_by_the_first_request(tmp_path: Path) -> None:
    file = tmp_path / "state" / "rate-limit"
    limiter = RateLimiter([RateWindow(1)], FakeClock(), shared_in=file)
    assert not file.parent.exists()

    limiter.acquire()

    assert file.exists()
    limiter.close()


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


def test_processes_with_different_limits_count_together(tmp_path: Path) -> None:
    clock = FakeClock()
    (modest,), (greedy,) = (limiters(tmp_path / "file", clock, RateWindow(n), count=1) for n in (2, 5))
    for _ in range(5):
        greedy.acquire()
    assert clock.monotonic() == 0.0
    modest.acquire()
    assert clock.monotonic() == pytest.approx(60.0, abs=MICROSECOND)


def test_the_ring_of_times_overwrites_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "SLOTS", 4)
    clock = FakeClock()
    one, other = limiters(tmp_path / "file", clock, RateWindow(100))
    for _ in range(6):
        one.acquire()
        other.acquire()
    assert clock.monotonic() == pytest.approx(120.0, abs=1e-4)
    assert (tmp_path / "file").stat().st_size == 16 + 4 * 8


def test_times_from_before_the_machine_was_restarted_are_ignored(tmp_path: Path) -> None:
    before, after = FakeClock(), FakeClock()
    before.advance(1_000_000)
    (old,), (new,) = (limiters(tmp_path / "file", clock, RateWindow(1), count=1) for clock in (before, after))
    old.acquire()
    old.pause(100)

    new.acquire()

    assert after.monotonic() == 0.0
    new.acquire()
    assert after.monotonic() == pytest.approx(60.0, abs=MICROSECOND)


def test_a_folder_that_cannot_be_written_is_an_error_and_not_a_limit_for_each_process(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    limiter = RateLimiter([RateWindow(1)], FakeClock(), shared_in=tmp_path / "state" / "rate-limit")

    with pytest.raises(
        StateError, match=r"cannot share the rate limit in .*rate-limit: .*; free space or allow writing there"
    ):
        limiter.acquire()
    with pytest.raises(StateError):
        limiter.pause(1)


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
