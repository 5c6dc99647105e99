from __future__ import annotations

import time
from pathlib import Path

import pytest

from marketpipe.integration.infrastructure.rate_limits import rate_limiter
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.testing import FakeClock

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


def test_a_window_begins_when_the_server_has_certainly_counted_the_request(tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = limiters(tmp_path / "file", clock, RateWindow(2))
    for limiter in (one, other):
        limiter.acquire()
    clock.advance(1.5)
    one.answered()
    clock.advance(0.5)
    other.answered()
    one.acquire()
    assert clock.monotonic() == pytest.approx(61.5, abs=MICROSECOND)
    other.acquire()
    assert clock.monotonic() == pytest.approx(62.0, abs=MICROSECOND)


def test_requests_that_overtake_each_other_never_share_a_window_with_more_than_the_limit(tmp_path: Path) -> None:
    """The server counts a request at some moment between its turn and its answer; here always at the answer."""
    clock, counted = FakeClock(), list[float]()
    both = limiters(tmp_path / "file", clock, RateWindow(3, 10.0))
    on_their_way = list[RateLimiter]()
    for step in range(60):
        limiter = both[step % 2]
        limiter.acquire()
        on_their_way.append(limiter)
        if step % 3 == 2:  # the latest is answered first
            while on_their_way:
                clock.advance(0.3)
                counted.append(clock.monotonic())
                on_their_way.pop().answered()
    assert all(after - before >= 10.0 - MICROSECOND for before, after in zip(counted, counted[3:], strict=False))


def test_an_answer_without_a_request_leaves_the_window_where_it_was(tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = limiters(tmp_path / "file", clock, RateWindow(1))
    one.acquire()
    other.answered()  # it has sent nothing
    other.acquire()
    assert clock.monotonic() == pytest.approx(60.0, abs=MICROSECOND)


def test_a_backend_of_the_former_port_still_works() -> None:
    class Former:
        def reserve(self) -> float:
            return 0.0

        def pause(self, seconds: float) -> None: ...

        def close(self) -> None: ...

    limiter = RateLimiter([], FakeClock(), shared_in=Former())  # type: ignore[arg-type]
    limiter.acquire()
    limiter.answered()


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
