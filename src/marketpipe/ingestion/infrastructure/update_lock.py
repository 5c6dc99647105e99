from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError


class UpdateLock:
    """At most one holder a store, across threads and processes. The system releases it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises ``StoreBusyError`` at once where somebody else holds it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._path, timeout=0, is_singleton=False)
            lock.acquire()
        except Timeout as error:
            raise StoreBusyError(
                f"another update of this store is at work (it holds {self._path}): this one steps aside"
            ) from error
        except OSError as error:
            raise StateError(
                f"cannot lock {self._path}: {error.strerror}; free space or allow writing there"
            ) from error
        try:
            yield
        finally:
            lock.release()
