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

SILENT_SECONDS: Final = 20.0
BUSY_SECONDS: Final = 120.0
LOOKS: Final = 20
HUNG: Final = 3
"""The exit code of a process whose world hangs."""


@frozen
class Patience:
    """How long a world may make no call: this much time if it does not compute, this much processor time if it does."""

    silent: float = SILENT_SECONDS
    busy: float = BUSY_SECONDS


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
    """Look often, and count the looks: a busy machine lets the world wait, and its watch as well."""
    seen, looks, used = progress(), 0, time.process_time()
    while not over.wait(patience.silent / LOOKS):
        if progress() != seen:
            seen, looks, used = progress(), 0, time.process_time()
            continue
        looks, computed = looks + 1, time.process_time() - used
        if computed > patience.busy or (looks >= LOOKS and computed < patience.silent / 100):
            end()
            return
