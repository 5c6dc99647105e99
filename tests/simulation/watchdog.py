"""Ends this process, with the stacks of all its threads, if its world hangs in something that was not injected."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import frozen

SILENT_SECONDS: Final = 60.0
BUSY_SECONDS: Final = 120.0
POLLS: Final = 20
"""How often the watch looks in the time for which a world may be silent."""
LEAST_PART: Final = 0.01
"""Of a busy machine, even a process that waits behind many others gets so much of a processor."""
HUNG: Final = 3
"""The exit code of a process whose world hangs."""


@frozen
class Patience:
    """How long a world may make no call: this much time if it does not compute, this much processor time if it does.

    ``times`` tells how much of both has passed.
    """

    silent: float = SILENT_SECONDS
    busy: float = BUSY_SECONDS
    times: Callable[[], tuple[float, float]] = lambda: (time.monotonic(), time.process_time())


def _end() -> None:
    faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
    os._exit(HUNG)


@contextmanager
def watched(
    progress: Callable[[], int], patience: Patience | None = None, end: Callable[[], None] = _end
) -> Iterator[None]:
    """Call ``end`` if ``progress`` stays the same for too long inside a ``with``."""
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(progress, patience or Patience(), end, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(progress: Callable[[], int], patience: Patience, end: Callable[[], None], over: threading.Event) -> None:
    """A busy machine may let a process wait for long: it hangs if it has used no processor time meanwhile."""
    seen, (since, used) = progress(), patience.times()
    while not over.wait(patience.silent / POLLS):
        now, computed = patience.times()
        if (latest := progress()) != seen:
            seen, since, used = latest, now, computed
            continue
        passed, busy = now - since, computed - used
        if busy > patience.busy or (passed > patience.silent and busy < passed * LEAST_PART):
            end()
            return
