"""The adapter of the port ``Clock`` for real time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp

POLL_SECONDS = 0.05
"""How long an interruption may go unnoticed in ``sleep_async``."""
LONGEST_WAIT_SECONDS = 1.0
"""How long it may go unnoticed in ``sleep`` if a signal handler interrupts at the very moment the sleep begins."""
INTERRUPTED = "asked to stop while waiting for the market data provider"


class SystemClock:
    """The time of the machine. ``interrupt`` ends all sleeps of this clock with ``IngestionInterrupted``.

    A signal handler may call it on the thread that sleeps: unlike a ``threading.Event``, which would wait for itself
    then, the condition has a reentrant lock.
    """

    def __init__(self) -> None:
        self._woken, self._interrupted = threading.Condition(), False

    def now(self) -> Timestamp:
        return Timestamp(datetime.now(UTC))

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._woken:
            while not self._interrupted:
                if (left := until - time.monotonic()) <= 0:
                    return
                self._woken.wait(min(left, LONGEST_WAIT_SECONDS))
        raise IngestionInterrupted(INTERRUPTED)

    async def sleep_async(self, seconds: float) -> None:
        """Sleep in short steps: an event loop cannot wait for what another thread does."""
        import asyncio  # here, because few processes have an event loop, and it takes as long as all of --help

        until = time.monotonic() + seconds
        while not self._interrupted:
            if (left := until - time.monotonic()) <= 0:
                return
            await asyncio.sleep(min(left, POLL_SECONDS))
        raise IngestionInterrupted(INTERRUPTED)

    def interrupt(self) -> None:
        self._interrupted = True
        with self._woken:
            self._woken.notify_all()

    def resume(self) -> None:
        self._interrupted = False
