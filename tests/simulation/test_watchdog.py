"""A world that hangs ends its process; one that computes or goes on does not."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from tests.simulation.watchdog import Patience, watched
from tests.support.child_processes import wait_until


def test_a_world_that_makes_no_call_is_ended() -> None:
    ended = threading.Event()
    with watched(lambda: 7, Patience(silent=1), ended.set):
        wait_until(ended.is_set)


def test_a_world_that_goes_on_is_not_ended() -> None:
    ended, calls = threading.Event(), count()
    with watched(lambda: next(calls), Patience(silent=0.2), ended.set):
        time.sleep(0.5)
    assert not ended.is_set()


@pytest.mark.parametrize(("busy", "is_ended"), [(0.1, True), (1000.0, False)])
def test_a_world_that_computes_is_ended_later(busy: float, is_ended: bool) -> None:
    ended = threading.Event()
    with watched(lambda: 7, Patience(silent=1, busy=busy), ended.set):
        began = time.process_time()
        while time.process_time() - began < 0.4 and not ended.is_set():
            pass
    assert ended.is_set() is is_ended
