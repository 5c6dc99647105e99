from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp


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
            raise IngestionInterrupted("asked to stop while waiting for the market data provider")

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def interrupt(self) -> None:
        self._interrupted.set()

    def resume(self) -> None:
        self._interrupted.clear()
