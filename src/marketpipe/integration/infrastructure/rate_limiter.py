from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from attrs import field, frozen
from attrs.validators import ge, gt
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import ConfigurationError

LONGEST_PAUSE = 300.0


@frozen
class RateWindow:
    """At most ``limit`` requests in any ``seconds``."""

    limit: int = field(validator=ge(1))
    seconds: float = field(default=60.0, validator=gt(0))


class RateLimiter:
    """Lets callers through no faster than every window allows and the provider has asked; threads and tasks share it.

    The windows are pyrate-limiter's sliding ones; time is the injected clock's. ``on_wait`` hears of every wait.
    Raises ``ConfigurationError`` for windows of which one makes another pointless.
    """

    def __init__(
        self, windows: Sequence[RateWindow], clock: Clock, on_wait: Callable[[float], None] = lambda _: None
    ) -> None:
        self._clock, self._on_wait = clock, on_wait
        rates = sorted((Rate(w.limit, math.ceil(w.seconds * 1000)) for w in windows), key=lambda rate: rate.interval)
        self._bucket = _bucket(rates) if rates else None
        self._lock = threading.Lock()
        self._paused_until = -math.inf

    def acquire(self) -> None:
        """Waits for its turn. Raises ``IngestionInterrupted`` when the clock's owner is asked to stop."""
        while (delay := self._claim()) > 0:
            self._on_wait(delay)
            self._clock.sleep(delay)

    async def acquire_async(self) -> None:
        while (delay := self._claim()) > 0:
            self._on_wait(delay)
            await self._clock.sleep_async(delay)

    def pause(self, seconds: float) -> None:
        """The provider asked for quiet: nobody gets through before that, five minutes at the most."""
        with self._lock:
            until = self._clock.monotonic() + min(seconds, LONGEST_PAUSE)
            self._paused_until = max(self._paused_until, until)

    def _claim(self) -> float:
        """Seconds to wait before trying again; 0: go."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._paused_until:
                return self._paused_until - now
            return self._claim_from_windows(int(now * 1000))

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
