"""A world that hangs ends its process; one that computes or goes on does not."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from tests.simulation.watchdog import Patience, watched
from tests.support.child_processes import wait_until

SILENT, POLLS = 0.2, 60


class Times:
    """Tell that a quarter of the silence passes between two polls, and that a part of it was computed."""

    def __init__(self, part: float) -> None:
        self._part, self.polls = part, 0

    def __call__(self) -> tuple[float, float]:
        self.polls += 1
        passed = self.polls * SILENT / 4
        return passed, passed * self._part


def test_a_world_that_makes_no_call_is_ended() -> None:
    ended = threading.Event()
    with watched(lambda: 7, Patience(SILENT, times=Times(0.001)), ended.set):
        wait_until(ended.is_set)


@pytest.mark.parametrize("part", [0.0, 0.05, 1.0])
def test_a_world_that_goes_on_is_not_ended(part: float) -> None:
    ended, calls, times = threading.Event(), count(), Times(part)
    with watched(lambda: next(calls), Patience(SILENT, times=times), ended.set):
        wait_until(lambda: times.polls > POLLS)
    assert not ended.is_set()


@pytest.mark.parametrize("part", [0.05, 1.0])
def test_a_world_that_computes_is_not_ended_however_little_of_the_processor_it_gets(part: float) -> None:
    ended, times = threading.Event(), Times(part)
    with watched(lambda: 7, Patience(SILENT, times=times), ended.set):
        wait_until(lambda: times.polls > POLLS)
    assert not ended.is_set()


def test_a_world_that_computes_for_too_long_is_ended() -> None:
    ended = threading.Event()
    with watched(lambda: 7, Patience(SILENT, busy=0.1, times=Times(1.0)), ended.set):
        wait_until(ended.is_set)
