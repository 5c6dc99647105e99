from __future__ import annotations

import glob
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError


class HolderLock:
    """A name among those who share a state file, held as a lock on a file of that name for as long as its bearer lives.

    The system releases the lock when the process dies, however it dies: whoever can lock that file knows. Raises
    ``OSError`` where no file can be made.
    """

    def __init__(self, state_path: Path) -> None:
        self._folder, self._prefix = state_path.parent, f"{state_path.name}.holder-"
        self._lock: FileLock | None = None
        self._name = uuid.uuid4().hex

    def name(self) -> str:
        """Ours; from the first call on others can see that we live."""
        if self._lock is None:
            lock = _lock(self._file(self._name))
            lock.acquire()
            self._lock = lock
        return self._name

    def is_alive(self, name: str) -> bool:
        if name == self._name:
            return self._lock is not None
        file = self._file(name)
        if not file.exists():
            return False
        lock = _lock(file)
        try:
            lock.acquire()
        except Timeout:
            return True
        file.unlink(missing_ok=True)
        lock.release()
        return False

    def others(self) -> bool:
        """Whether anybody else lives."""
        found = self._folder.glob(f"{glob.escape(self._prefix)}*")
        names = (file.name.removeprefix(self._prefix) for file in found)
        return any(self.is_alive(name) for name in names if name != self._name)

    def close(self) -> None:
        if self._lock is not None:
            with suppress(OSError):  # somebody else may have taken the folder away
                self._file(self._name).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _file(self, name: str) -> Path:
        return self._folder / f"{self._prefix}{name}"


def _lock(file: Path) -> FileLock:
    return FileLock(file, timeout=0, is_singleton=False, thread_local=False)


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
