from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp

LOOK_UP_SECONDS = 0.05
STOPPED = "asked to stop while waiting for the market data provider"


class SystemClock:
    """The machine's time. ``interrupt`` wakes every sleeper of this clock, each with ``IngestionInterrupted``."""

    def __init__(self) -> None:
        self._interrupted = threading.Event()

    def now(self) -> Timestamp:
        return Timestamp(datetime.now(UTC))

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if self._interrupted.wait(seconds):
            raise IngestionInterrupted(STOPPED)

    async def sleep_async(self, seconds: float) -> None:
        """Looks up now and then: an event loop cannot wait for another thread's event."""
        until = time.monotonic() + seconds
        while not self._interrupted.is_set():
            if (left := until - time.monotonic()) <= 0:
                return
            await asyncio.sleep(min(left, LOOK_UP_SECONDS))
        raise IngestionInterrupted(STOPPED)

    def interrupt(self) -> None:
        self._interrupted.set()

    def resume(self) -> None:
        self._interrupted.clear()
