from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from marketpipe.integration.infrastructure.rate_window import RateWindow
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import ConfigurationError


class LocalTurns:
    """The turns of the threads and tasks of one client: pyrate-limiter's sliding windows."""

    def __init__(self, windows: Sequence[RateWindow], clock: Clock) -> None:
        """Raises ``ConfigurationError`` for windows of which one makes another pointless."""
        self._clock, self._lock = clock, threading.Lock()
        rates = sorted((Rate(w.limit, math.ceil(w.seconds * 1000)) for w in windows), key=lambda rate: rate.interval)
        self._bucket = _bucket(rates) if rates else None
        self._paused_until = -math.inf

    def claim(self) -> float:
        """Seconds to wait before trying again; 0: go."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._paused_until:
                return self._paused_until - now
            return self._claim_from_windows(int(now * 1000))

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def close(self) -> None:
        """Nothing was opened."""

    def _claim_from_windows(self, now_ms: int) -> float:
        if self._bucket is None:
            return 0.0
        self._bucket.leak(now_ms)
        item = RateItem("request", now_ms)
        if self._bucket.put(item):
            return 0.0
        return max(1, int(self._bucket.waiting(item))) / 1000  # type: ignore[arg-type]


def _bucket(rates: list[Rate]) -> InMemoryBucket:
    try:
        return InMemoryBucket(rates)
    except ValueError as error:
        raise ConfigurationError(
            f"rate windows {rates}: a longer window needs a higher limit, but no more requests a second"
        ) from error
