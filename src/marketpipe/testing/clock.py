"""A clock for tests: nothing really waits, so an hour of backoff takes no time."""

from __future__ import annotations

import threading
from datetime import timedelta

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp


class FakeClock:
    """A ``Clock`` that moves only if a caller sleeps or a test advances it. ``slept`` has every sleep in seconds.

    ``now`` is where it begins, as RFC 3339 text.
    """

    def __init__(self, now: str = "2025-06-02T12:00:00Z") -> None:
        self._start = Timestamp.parse(now)
        self._passed = 0.0
        self._lock = threading.Lock()
        self._interrupted = False
        self.slept: list[float] = []

    def now(self) -> Timestamp:
        return self._start.plus(timedelta(seconds=self._passed))

    def monotonic(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Move on by ``seconds`` at once. Raises ``IngestionInterrupted`` after ``interrupt``."""
        if self._interrupted:
            raise IngestionInterrupted("asked to stop")
        with self._lock:
            self.slept.append(seconds)
            self._passed += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def interrupt(self) -> None:
        self._interrupted = True

    def resume(self) -> None:
        self._interrupted = False

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds`` without a sleep."""
        self._passed += seconds
