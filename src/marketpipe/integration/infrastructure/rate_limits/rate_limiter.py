"""The rate limit of a provider: who may send a request now, and what a response says about the limit.

``RateLimiter`` is what clients use. It reserves requests at one of three adapters of the port ``RateLimitBackend``: in
memory, for one client; in a file, for all processes of a machine that use the same account; or in a database, for those
of several machines (``postgres_rate_limit.py``).
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from attrs.validators import ge, gt

from marketpipe.integration.application.ports import RateLimitBackend
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, make_folders
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

if TYPE_CHECKING:
    from pyrate_limiter import InMemoryBucket

LONGEST_PAUSE: Final = 300.0
"""Seconds. A wrong clock or header must not stop ingestion for a day."""
MICROSECONDS: Final = 1_000_000
SLOTS: Final = 1 << 17
"""Request times that ``FileRateLimit`` keeps; no window allows more. The file is sparse, and 1 MiB at most."""
OVERTAKING: Final = 64
"""Requests on their way at the same time, at most: those of a connection pool."""
HEADER: Final = struct.Struct("<qq")
"""Of the file: the number of requests so far, and the end of the pause in microseconds (0: no pause)."""
MOMENT: Final = struct.Struct("<q")


@frozen
class RateWindow:
    """At most ``limit`` requests in any period of ``seconds``."""

    limit: int = field(validator=ge(1))
    seconds: float = field(default=60.0, validator=gt(0))


class RateLimiter:
    """Lets requests through no faster than every window allows and the provider has asked. Threads and tasks share it.

    ``shared_in`` names a file in which all processes of the machine share the limit, or is another backend. All
    times are those of ``clock``. ``on_wait`` is called with the seconds before every wait. Raises
    ``ConfigurationError`` if one window makes another pointless.
    """

    def __init__(
        self,
        windows: Sequence[RateWindow],
        clock: Clock,
        on_wait: Callable[[float], None] = lambda _: None,
        *,
        shared_in: Path | RateLimitBackend | None = None,
    ) -> None:
        self._clock, self._on_wait = clock, on_wait
        if isinstance(shared_in, Path):
            shared_in = FileRateLimit(shared_in, windows, clock)
        self._turns: RateLimitBackend = shared_in or InMemoryRateLimit(windows, clock)
        # a backend that was written before the port had this method
        self._answered: Callable[[], None] = getattr(self._turns, "answered", lambda: None)

    def acquire(self) -> None:
        """Return when the caller may send one request.

        Raises ``IngestionInterrupted`` if the clock is interrupted, ``StateError`` if a shared limit cannot be read or
        written.
        """
        while (delay := self._turns.reserve()) > 0:
            self._on_wait(delay)
            self._clock.sleep(delay)

    async def acquire_async(self) -> None:
        """Do the same as ``acquire`` without blocking the event loop."""
        while (delay := self._turns.reserve()) > 0:
            self._on_wait(delay)
            await self._clock.sleep_async(delay)

    def answered(self) -> None:
        """Note that a request which had its turn has ended. Call it after each; without it, windows begin earlier."""
        with suppress(StateError):  # it was no obstacle to the request, and the next one will meet the cause
            self._answered()

    def pause(self, seconds: float) -> None:
        """Let no request through for so long, at most five minutes, because the provider asked for it."""
        self._turns.pause(min(seconds, LONGEST_PAUSE))

    def close(self) -> None:
        self._turns.close()


@frozen
class RateLimitReport:
    """What a response says about the caller's limit. None: nothing, or nothing that can be read.

    ``remaining`` counts requests; ``seconds_to_reset`` and ``retry_after`` are seconds from now.
    """

    remaining: int | None = None
    seconds_to_reset: float | None = None
    retry_after: float | None = None

    @property
    def seconds_to_wait(self) -> float | None:
        """Return ``retry_after``, which is an explicit request, before the time of the reset."""
        return self.retry_after if self.retry_after is not None else self.seconds_to_reset


def read_rate_limit(headers: Mapping[str, str], now: Timestamp) -> RateLimitReport:
    """Read ``X-RateLimit-Reset`` in epoch seconds, and ``Retry-After`` in seconds or as an HTTP date.

    ``headers`` is looked up by lower-case names. A header that cannot be read counts as absent: it must not fail the
    request that it came with.
    """
    remaining, reset = _number(headers.get("x-ratelimit-remaining")), _number(headers.get("x-ratelimit-reset"))
    return RateLimitReport(
        remaining=None if remaining is None else int(remaining),
        seconds_to_reset=None if reset is None else max(0.0, reset - now.epoch_micros / 1e6),
        retry_after=_retry_after(headers.get("retry-after"), now),
    )


def read_server_time(headers: Mapping[str, str]) -> Timestamp | None:
    """Read ``Date``, and add the ``Age`` of a response that a cache has kept; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(headers["date"])
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return Timestamp(aware).plus(timedelta(seconds=_number(headers.get("age")) or 0.0))
    except (KeyError, ValueError, OverflowError):  # our own ValidationError is a ValueError
        return None


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


class InMemoryRateLimit:
    """The rate limit of one client's threads and tasks: sliding windows of pyrate-limiter. See ``RateLimitBackend``."""

    def __init__(self, windows: Sequence[RateWindow], clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._bucket, self._paused_until = _bucket(windows), -math.inf

    def reserve(self) -> float:
        with self._lock:
            now = self._clock.monotonic()
            if now < self._paused_until:
                return self._paused_until - now
            return self._reserve_in_windows(int(now * 1000))

    def answered(self) -> None:
        """Do nothing: a bucket's times cannot be changed. One client's threads seldom overtake each other."""

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    def close(self) -> None:
        """Do nothing: memory needs no closing."""

    def _reserve_in_windows(self, now_ms: int) -> float:
        if self._bucket is None:
            return 0.0
        from pyrate_limiter import RateItem

        self._bucket.leak(now_ms)
        item = RateItem("request", now_ms)
        if self._bucket.put(item):
            return 0.0
        return max(1, int(self._bucket.waiting(item))) / 1000  # type: ignore[arg-type]


def check_windows(windows: Sequence[RateWindow]) -> None:
    """Raise ``ConfigurationError`` if one window makes another pointless."""
    if len(windows) > 1:  # else pyrate-limiter need not be imported
        _bucket(windows)


def _bucket(windows: Sequence[RateWindow]) -> InMemoryBucket | None:
    """Return None without windows. Raises ``ConfigurationError`` if one window makes another pointless."""
    from pyrate_limiter import InMemoryBucket, Rate  # here, because processes that share a limit do not need it

    rates = sorted((Rate(w.limit, math.ceil(w.seconds * 1000)) for w in windows), key=lambda rate: rate.interval)
    try:
        return InMemoryBucket(rates) if rates else None
    except ValueError as error:
        raise ConfigurationError(
            f"rate windows {rates}: the longer of two windows needs a higher limit, at no higher rate per second"
        ) from error


class FileRateLimit:
    """One rate limit of all processes of a machine, in a small file. See ``RateLimitBackend``.

    The file holds ``HEADER`` and a ring of the times of the latest requests, in microseconds of the clock's monotonic
    time, which all processes of a machine share. A window is full if the request ``limit`` places back is younger than
    the window. So a request costs two locks, a few small reads and three writes, however high the limit is.

    The time of a request is that of its turn, and once it is answered, that of its answer: the server has counted it in
    between. Requests overtake each other, so the latest time of ``OVERTAKING`` requests counts.

    A time in the future was written before the machine was restarted, when monotonic time began again; it is ignored.
    """

    def __init__(self, path: Path, windows: Sequence[RateWindow], clock: Clock, machine: Machine = HERE) -> None:
        """The first request creates the file."""
        check_windows(windows)
        self._path, self._clock, self._disk = path, clock, machine.disk
        self._windows = [(min(w.limit, SLOTS), round(w.seconds * MICROSECONDS)) for w in windows]
        self._lock = machine.threads.lock()
        self._descriptor: int | None = None
        self._unanswered = deque[int]()

    def reserve(self) -> float:
        with self._locked() as file:
            now = self._now()
            count, paused_until = _read_header(self._disk, file, now)
            free_at = max([paused_until, *(self._free_at(file, count, now, *window) for window in self._windows)])
            if free_at > now:
                return (free_at - now) / MICROSECONDS
            # First the time, then the count: if the process dies in between, the slot is written again.
            self._disk.pwrite(file, MOMENT.pack(now), _offset(count))
            self._disk.pwrite(file, HEADER.pack(count + 1, 0), 0)
            self._unanswered.append(count)
            return 0.0

    def answered(self) -> None:
        with self._locked() as file:
            # Which of our requests it was does not matter: only the number of times in a window counts.
            count = _read(self._disk, HEADER, file, 0)[0] if self._unanswered else 0
            if self._unanswered and count - (number := self._unanswered.popleft()) < SLOTS:
                self._disk.pwrite(file, MOMENT.pack(self._now()), _offset(number))

    def pause(self, seconds: float) -> None:
        with self._locked() as file:
            now = self._now()
            count, paused_until = _read_header(self._disk, file, now)
            until = now + round(seconds * MICROSECONDS)
            self._disk.pwrite(file, HEADER.pack(count, max(paused_until, until)), 0)

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                self._disk.close(self._descriptor)
                self._descriptor = None

    def _now(self) -> int:
        return int(self._clock.monotonic() * MICROSECONDS)

    def _free_at(self, file: int, count: int, now: int, limit: int, interval: int) -> int:
        if count < limit:
            return now
        last = count - limit
        first = max(0, last - OVERTAKING + 1, count - SLOTS)
        moments = _read_moments(self._disk, file, first, last)
        return max((moment + interval for moment in moments if moment <= now), default=now)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the file alone: among the threads by a lock, among the processes by ``flock``.

        ``flock`` belongs to the open file, which threads share, so it needs the lock too. The system releases it if
        the process dies.
        """
        try:
            with self._lock:
                file = self._open()
                self._disk.flock(file, fcntl.LOCK_EX)
                try:
                    yield file
                finally:
                    self._disk.flock(file, fcntl.LOCK_UN)
        except OSError as error:
            # Without the file each process would use the whole limit alone, and the account would be blocked.
            raise StateError(
                f"cannot share the rate limit in {self._path}: {error.strerror}; free space or allow writing there"
            ) from error

    def _open(self) -> int:
        if self._descriptor is None:
            make_folders(self._disk, self._path.parent)
            # O_NOFOLLOW: in a shared folder another user could put a link here, and its target would be overwritten
            self._descriptor = self._disk.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        return self._descriptor


def _read_header(disk: Disk, file: int, now: int) -> tuple[int, int]:
    """Return the number of requests and the end of the pause, which is ``now`` if it is too far away to be true."""
    count, paused_until = _read(disk, HEADER, file, 0)
    return count, paused_until if paused_until <= now + LONGEST_PAUSE * MICROSECONDS else now


def _read(disk: Disk, layout: struct.Struct, file: int, offset: int) -> tuple[int, ...]:
    """Read zeros behind the end of the file, where nothing has been written yet."""
    return layout.unpack(disk.pread(file, layout.size, offset).ljust(layout.size, b"\0"))


def _read_moments(disk: Disk, file: int, first: int, last: int) -> Iterator[int]:
    """Yield the times of the requests ``first`` to ``last``, both inclusive; one reading for each lap of the ring."""
    while first <= last:
        until = min(last, first // SLOTS * SLOTS + SLOTS - 1)
        size = (until - first + 1) * MOMENT.size
        for (moment,) in MOMENT.iter_unpack(disk.pread(file, size, _offset(first)).ljust(size, b"\0")):
            yield moment
        first = until + 1


def _offset(request: int) -> int:
    return HEADER.size + request % SLOTS * MOMENT.size
