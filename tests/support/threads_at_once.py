from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 8


def at_once(work: Callable[[int], None]) -> None:
    """Start all at the same time, wait for them, and raise the first error."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> None:
        start.wait(60)
        work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(begin, number) for number in range(THREADS)]:
            done.result(60)
