from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from marketpipe.shared_kernel.domain.errors import StateError

LOOK_AGAIN_SECONDS = 0.02


class AggregationLock:
    """One at a time reads minutes and writes what it made of them: nobody overwrites newer aggregates with older ones.

    Where there is no folder for the state nobody ingests, and nothing is locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Waits for its turn."""
        if not self._path.parent.exists():
            yield
            return
        lock = FileLock(self._path, poll_interval=LOOK_AGAIN_SECONDS, is_singleton=False)
        try:
            lock.acquire()
        except OSError as error:
            raise StateError(
                f"cannot lock {self._path}: {error.strerror}; free space or allow writing there"
            ) from error
        try:
            yield
        finally:
            lock.release()
