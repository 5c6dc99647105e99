from __future__ import annotations

import fcntl
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen
from attrs.validators import ge, gt
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp

LONGEST_PAUSE = 300.0


@frozen
class RateWindow:
    """At most ``limit`` requests in any ``seconds``."""

    limit: int = field(validator=ge(1))
    seconds: float = field(default=60.0, validator=gt(0))


@frozen
class RateLimitReport:
    """What a response says of the caller's budget; None where it says nothing or nothing readable."""

    remaining: int | None = None
    seconds_to_reset: float | None = None
    retry_after: float | None = None

    @property
    def seconds_to_wait(self) -> float | None:
        return self.retry_after if self.retry_after is not None else self.seconds_to_reset


def read_rate_limit(headers: Mapping[str, str], now: Timestamp) -> RateLimitReport:
    """``X-RateLimit-Reset`` in epoch seconds; ``Retry-After`` in seconds or as an HTTP date."""
    remaining, reset = _number(headers.get("x-ratelimit-remaining")), _number(headers.get("x-ratelimit-reset"))
    return RateLimitReport(
        remaining=None if remaining is None else int(remaining),
        seconds_to_reset=None if reset is None else max(0.0, reset - now.epoch_micros / 1e6),
        retry_after=_retry_after(headers.get("retry-after"), now),
    )


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


def _retry_after(text: str | None, now: Timestamp) -> float | None:
    if text is None or (seconds := _number(text)) is not None:
        return None if text is None else seconds
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now.moment).total_seconds())


class LocalTurns:
    """The turns of the threads and tasks of one client: pyrate-limiter's sliding windows."""

    def __init__(self, windows: Sequence[RateWindow], clock: Clock) -> None:
        """Raises ``ConfigurationError`` for windows of which one makes another pointless."""
        self._clock, self._lock = clock, threading.Lock()
        rates = sorted((Rate(w.limit, math.ceil(w.seconds * 1000)) for w in windows), key=lambda rate: rate.interval)
        self._bucket = _bucket(rates) if rates else None
        self._paused_until = -math.inf

    def reserve(self) -> float:
        """Seconds to wait before trying again; 0: go."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._paused_until:
                return self._paused_until - now
            return self._reserve_in_windows(int(now * 1000))

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def close(self) -> None:
        """Nothing was opened."""

    def _reserve_in_windows(self, now_ms: int) -> float:
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


SLOTS: Final = 1 << 17
"""Moments that are remembered; no window lets more through than that. The file is sparse, and a megabyte at most."""
HEADER: Final = struct.Struct("<qq")
MOMENT: Final = struct.Struct("<q")
MICROSECONDS: Final = 1_000_000


class SharedTurns:
    """The turns of all processes of a machine that ask one provider with one key: sliding windows in a small file.

    The file holds how many requests there were, until when the provider wants quiet, and a ring of the moments of the
    latest requests, in microseconds of the clock's monotonic time, which is the system's. The request ``limit`` places
    back says whether a window is full, so a turn costs a lock, a few reads of eight bytes and two writes, however high
    the limit. A moment that lies ahead is from before the machine was started, and counts for nothing.
    """

    def __init__(self, path: Path, windows: Sequence[RateWindow], clock: Clock) -> None:
        """The file is made by the first request."""
        self._path, self._clock = path, clock
        self._windows = [(min(w.limit, SLOTS), round(w.seconds * MICROSECONDS)) for w in windows]
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def reserve(self) -> float:
        """Seconds to wait before trying again; 0: go. Raises ``StateError``."""
        with self._alone() as file:
            now = self._now()
            count, quiet_until = _header(file, now)
            free_at = max([quiet_until, *(self._free_at(file, count, now, *window) for window in self._windows)])
            if free_at > now:
                return (free_at - now) / MICROSECONDS
            os.pwrite(file, MOMENT.pack(now), _place(count))
            os.pwrite(file, HEADER.pack(count + 1, 0), 0)
            return 0.0

    def pause(self, seconds: float) -> None:
        """Raises ``StateError``."""
        with self._alone() as file:
            now = self._now()
            count, quiet_until = _header(file, now)
            until = now + round(seconds * MICROSECONDS)
            os.pwrite(file, HEADER.pack(count, max(quiet_until, until)), 0)

    def close(self) -> None:
        """The next request opens the file again."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _now(self) -> int:
        return int(self._clock.monotonic() * MICROSECONDS)

    def _free_at(self, file: int, count: int, now: int, limit: int, interval: int) -> int:
        if count < limit:
            return now
        moment = _read(MOMENT, file, _place(count - limit))[0]
        return moment + interval if moment <= now else now

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Among the threads of this process and all processes. The system lets go of the lock of a dead one."""
        try:
            with self._lock:
                file = self._open()
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    yield file
                finally:
                    fcntl.flock(file, fcntl.LOCK_UN)
        except OSError as error:
            raise StateError(
                f"cannot share the rate limit in {self._path}: {error.strerror}; free space or allow writing there"
            ) from error

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        return self._descriptor


def _header(file: int, now: int) -> tuple[int, int]:
    count, quiet_until = _read(HEADER, file, 0)
    return count, quiet_until if quiet_until <= now + LONGEST_PAUSE * MICROSECONDS else now


def _read(layout: struct.Struct, file: int, offset: int) -> tuple[int, ...]:
    """What was never written is zero."""
    return layout.unpack(os.pread(file, layout.size, offset).ljust(layout.size, b"\0"))


def _place(request: int) -> int:
    return HEADER.size + request % SLOTS * MOMENT.size


__all__ = ["LONGEST_PAUSE", "RateLimiter", "RateWindow"]


class RateLimiter:
    """Lets callers through no faster than every window allows and the provider has asked; threads and tasks share it.

    With ``shared_in``, a file, all processes of the machine that name the same file share it. Time is the injected
    clock's. ``on_wait`` hears of every wait. Raises ``ConfigurationError`` for windows of which one makes another
    pointless.
    """

    def __init__(
        self,
        windows: Sequence[RateWindow],
        clock: Clock,
        on_wait: Callable[[float], None] = lambda _: None,
        *,
        shared_in: Path | None = None,
    ) -> None:
        self._clock, self._on_wait = clock, on_wait
        self._turns: LocalTurns | SharedTurns
        if shared_in is None or len(windows) > 1:  # one window alone makes no other pointless
            self._turns = LocalTurns(windows, clock)
        if shared_in is not None:
            self._turns = SharedTurns(shared_in, windows, clock)

    def acquire(self) -> None:
        """Waits for its turn. Raises ``IngestionInterrupted`` when the clock's owner is asked to stop.

        Raises ``StateError`` where what is shared cannot be read or written.
        """
        while (delay := self._turns.reserve()) > 0:
            self._on_wait(delay)
            self._clock.sleep(delay)

    async def acquire_async(self) -> None:
        while (delay := self._turns.reserve()) > 0:
            self._on_wait(delay)
            await self._clock.sleep_async(delay)

    def pause(self, seconds: float) -> None:
        """The provider asked for quiet: nobody gets through before that, five minutes at the most."""
        self._turns.pause(min(seconds, LONGEST_PAUSE))

    def close(self) -> None:
        self._turns.close()
