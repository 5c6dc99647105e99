"""The adapter of the port ``Clock`` for real time."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp

POLL_SECONDS = 0.05
"""How long an interruption may go unnoticed in ``sleep_async``."""
INTERRUPTED = "asked to stop while waiting for the market data provider"


class SystemClock:
    """The time of the machine. ``interrupt`` ends all sleeps of this clock with ``IngestionInterrupted``."""

    def __init__(self) -> None:
        self._interrupted = threading.Event()

    def now(self) -> Timestamp:
        return Timestamp(datetime.now(UTC))

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if self._interrupted.wait(seconds):
            raise IngestionInterrupted(INTERRUPTED)

    async def sleep_async(self, seconds: float) -> None:
        """Sleep in short steps: an event loop cannot wait for a ``threading.Event``, which another thread may set."""
        until = time.monotonic() + seconds
        while not self._interrupted.is_set():
            if (left := until - time.monotonic()) <= 0:
                return
            await asyncio.sleep(min(left, POLL_SECONDS))
        raise IngestionInterrupted(INTERRUPTED)

    def interrupt(self) -> None:
        self._interrupted.set()

    def resume(self) -> None:
        self._interrupted.clear()
