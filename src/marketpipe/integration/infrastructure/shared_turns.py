from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from marketpipe.integration.infrastructure.rate_window import LONGEST_PAUSE, RateWindow
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import StateError

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

    def claim(self) -> float:
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
