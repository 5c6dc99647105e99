"""The contract of the port ``RateLimitBackend``, for every adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, pairwise
from pathlib import Path

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.application.ports import RateLimitBackend
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import FileRateLimit, InMemoryRateLimit, RateWindow
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.testing import FakeClock
from tests.simulation.disk.model import PLACE
from tests.simulation.modelled_states import processes_without_a_state

MILLISECOND = 0.001
Windows = Sequence[RateWindow]


@frozen
class Subject:
    """``connect`` takes a folder, windows and a clock, and returns two handles of the same turns."""

    name: str
    connect: Callable[[Path, Windows, Clock], tuple[RateLimitBackend, RateLimitBackend]] = field(repr=False)

    def __str__(self) -> str:
        return self.name


def _in_memory(_: Path, windows: Windows, clock: Clock) -> tuple[RateLimitBackend, RateLimitBackend]:
    turns = InMemoryRateLimit(windows, clock)
    return turns, turns


def _in_a_file(folder: Path, windows: Windows, clock: Clock) -> tuple[RateLimitBackend, RateLimitBackend]:
    """Return two handles with separate file descriptors, as in two processes."""
    return FileRateLimit(folder / "rate-limit", windows, clock), FileRateLimit(folder / "rate-limit", windows, clock)


def _simulated(_: Path, windows: Windows, clock: Clock) -> tuple[RateLimitBackend, RateLimitBackend]:
    """Return the handles of two processes of a modelled machine."""
    path, machines = Path(PLACE) / "state" / "rate-limit", processes_without_a_state()
    one, other = (FileRateLimit(path, windows, clock, machine) for machine in islice(machines, 2))
    return one, other


@pytest.fixture(
    scope="module",  # Hypothesis uses one for all its examples
    params=[Subject("in memory", _in_memory), Subject("in a file", _in_a_file), Subject("simulated", _simulated)],
    ids=str,
)
def subject(request: pytest.FixtureRequest) -> Subject:
    made: Subject = request.param
    return made


def wait_for_turn(turns: RateLimitBackend, clock: FakeClock) -> float:
    """Wait for a turn; return the time at which it was given."""
    while (delay := turns.reserve()) > 0:
        clock.advance(delay)
    return clock.monotonic()


def test_without_windows_every_turn_is_given_at_once(subject: Subject, tmp_path: Path) -> None:
    one, other = subject.connect(tmp_path, [], FakeClock())
    assert {turns.reserve() for turns in (one, other) * 100} == {0.0}


def test_a_full_window_gives_no_turn_until_it_has_moved_on(subject: Subject, tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = subject.connect(tmp_path, [RateWindow(2)], clock)
    assert [one.reserve(), other.reserve()] == [0.0, 0.0]
    clock.advance(10)
    assert one.reserve() == pytest.approx(50.0, abs=2 * MILLISECOND)
    assert other.reserve() == pytest.approx(50.0, abs=2 * MILLISECOND)  # asking did not use up a turn
    clock.advance(50 + 2 * MILLISECOND)
    assert [one.reserve(), other.reserve()] == [0.0, 0.0]
    assert one.reserve() > 0


@pytest.mark.parametrize("order", [1, -1], ids=["short first", "long first"])
def test_every_one_of_several_windows_holds(subject: Subject, tmp_path: Path, order: int) -> None:
    clock = FakeClock()
    both = cycle(subject.connect(tmp_path, [RateWindow(2, seconds=1), RateWindow(5, seconds=60)][::order], clock))
    times = [wait_for_turn(next(both), clock) for _ in range(12)]
    assert times == pytest.approx([0, 0, 1, 1, 2, 60, 60, 61, 61, 62, 120, 120], abs=5 * MILLISECOND)


@given(
    limit=st.integers(1, 6),
    seconds=st.sampled_from([0.5, 1.0, 7.5, 60.0]),
    paces=st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.3, 2.0, 61.0]), min_size=1, max_size=40),
)
def test_no_window_ever_gives_more_than_its_limit(
    tmp_path_factory: pytest.TempPathFactory, subject: Subject, limit: int, seconds: float, paces: list[float]
) -> None:
    clock, times = FakeClock(), list[float]()
    both = subject.connect(tmp_path_factory.mktemp("turns"), [RateWindow(limit, seconds)], clock)
    for turns, pace in zip(cycle(both), paces, strict=False):
        times.append(wait_for_turn(turns, clock))
        clock.advance(pace)
    for turns in both:
        turns.close()
    crowds = [sum(start <= moment < start + seconds - MILLISECOND for moment in times) for start in times]
    assert max(crowds) <= limit
    assert all(later >= earlier for earlier, later in pairwise(times))


def test_a_pause_holds_for_every_handle_and_uses_up_no_window(subject: Subject, tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = subject.connect(tmp_path, [RateWindow(3)], clock)
    one.pause(30)
    assert other.reserve() == pytest.approx(30.0, abs=MILLISECOND)
    assert [round(wait_for_turn(turns, clock), 3) for turns in (other, one, other)] == [30.0, 30.0, 30.0]
    assert one.reserve() > 0


def test_the_later_end_of_two_pauses_holds(subject: Subject, tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = subject.connect(tmp_path, [], clock)
    one.pause(30)
    clock.advance(5)
    other.pause(10)
    assert wait_for_turn(one, clock) == pytest.approx(30.0, abs=MILLISECOND)


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_pause_of_nothing_is_no_pause(subject: Subject, tmp_path: Path, seconds: float) -> None:
    one, other = subject.connect(tmp_path, [], FakeClock())
    one.pause(seconds)
    assert [one.reserve(), other.reserve()] == [0.0, 0.0]


def test_threads_get_no_more_turns_than_there_are(subject: Subject, tmp_path: Path) -> None:
    """The clock does not move."""
    both = subject.connect(tmp_path, [RateWindow(100)], FakeClock())
    with ThreadPoolExecutor(8) as threads:
        given_or_not = Counter(threads.map(lambda number: both[number % 2].reserve() == 0, range(400)))
    assert given_or_not == {True: 100, False: 300}


def test_turns_that_are_opened_again_have_kept_their_history(subject: Subject, tmp_path: Path) -> None:
    one, other = subject.connect(tmp_path, [RateWindow(1)], FakeClock())
    assert one.reserve() == 0
    for turns in (one, one, other):
        turns.close()
    assert one.reserve() == pytest.approx(60.0, abs=2 * MILLISECOND)
    assert other.reserve() == pytest.approx(60.0, abs=2 * MILLISECOND)


@pytest.mark.parametrize(
    "windows",
    [
        (RateWindow(5, 1), RateWindow(5, 60)),
        (RateWindow(10, 1), RateWindow(5, 60)),
        (RateWindow(5), RateWindow(5)),
        (RateWindow(1, 1), RateWindow(100, 60)),
    ],
)
def test_a_window_that_makes_another_pointless_is_refused(subject: Subject, tmp_path: Path, windows: Windows) -> None:
    with pytest.raises(ConfigurationError, match="the longer of two windows needs a higher limit"):
        subject.connect(tmp_path, windows, FakeClock())
