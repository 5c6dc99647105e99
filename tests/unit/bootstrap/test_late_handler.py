from __future__ import annotations

from collections.abc import Callable

from marketpipe.bootstrap.late_handler import LateHandler
from tests.support.threads_at_once import THREADS, at_once


def test_a_handler_is_made_when_its_first_event_comes_and_only_once() -> None:
    made, heard = list[int](), list[int]()

    def make() -> Callable[[int], None]:
        made.append(1)
        return heard.append

    handler = LateHandler(make)
    assert made == []
    at_once(handler)
    assert (len(made), sorted(heard)) == (1, list(range(THREADS)))
