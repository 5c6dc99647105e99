"""Locks on files, over ``filelock``: an exclusive lock, and the names of the processes that share a state file.

The operating system releases a file lock when its process ends, however it ends: a lock never outlives its holder.
A forked child owns no lock of its parent: it shares the open files, so it closes its own descriptors at once, and never
unlocks or deletes one of these files.
"""

from __future__ import annotations

import fcntl
import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet

from filelock import FileLock, Timeout

from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError

POLL_SECONDS: Final = 0.02
FOR_EVER: Final = -1.0
AT_ONCE: Final = 0.0


class ExclusiveFileLock:
    """``ExclusiveLock`` on one file.

    A lock that waits is not made if its folder is missing: then no process ingests, and nothing has to be locked.
    """

    def __init__(self, path: Path, *, waits: bool, longest_wait_seconds: float = FOR_EVER) -> None:
        self._path, self._waits, self._longest_wait = path, waits, longest_wait_seconds

    @contextmanager
    def acquired(self) -> Iterator[None]:
        if self._waits and not os.path.exists(self._path.parent):
            yield
            return
        lock, process = self._acquired(), os.getpid()
        try:
            yield
        finally:
            if os.getpid() == process:
                lock.release()

    def _acquired(self) -> FileLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = _file_lock(self._path, self._longest_wait if self._waits else AT_ONCE)
            lock.acquire()
        except Timeout as error:
            if self._waits:
                raise StoreBusyError(
                    f"another process has held {self._path} for {self._longest_wait:g} s: continue it, or end it"
                ) from error
            raise StoreBusyError(
                f"another update of this store is running (it holds {self._path}): this one does nothing"
            ) from error
        except OSError as error:
            raise StateError(
                f"cannot lock {self._path}: {error.strerror}; free space or allow writing there"
            ) from error
        return lock


class HolderLock:
    """The name of a process among those who share a state file: a lock on a file of that name, for as long as it lives.

    A process that can lock such a file knows that its holder has ended. Raises ``OSError`` if no file can be created.
    """

    def __init__(self, state_path: Path) -> None:
        self._folder, self._prefix = state_path.parent, f"{state_path.name}.holder-"
        self._lock: FileLock | None = None
        self._process = os.getpid()
        self._name = f"{self._process}-{uuid.uuid4().hex}"

    def name(self) -> str:
        """Return our own name; others see from the first call on that we live."""
        if self._lock is None:
            lock = _file_lock(self._file(self._name), AT_ONCE)
            lock.acquire()
            self._lock = lock
        return self._name

    def is_alive(self, name: str) -> bool:
        """Whether the process of that name lives; the file of one that has ended is deleted."""
        if name == self._name:
            return self._lock is not None
        file = self._file(name)
        try:
            # Opened for reading and locked as by a reader: a state may also be in a folder that is read-only. There
            # the file of a dead process stays.
            with file.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
                with suppress(OSError):
                    file.unlink()
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    def others(self) -> bool:
        """Whether another process that shares the state file lives."""
        found = self._folder.glob(f"{glob.escape(self._prefix)}*")
        names = (file.name.removeprefix(self._prefix) for file in found)
        return any(self.is_alive(name) for name in names if name != self._name)

    def close(self) -> None:
        """Delete the file and release the lock. In a forked child it does nothing: the lock is the parent's."""
        if self._lock is not None and os.getpid() == self._process:
            with suppress(OSError):  # the folder may have been deleted meanwhile
                self._file(self._name).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _file(self, name: str) -> Path:
        return self._folder / f"{self._prefix}{name}"


def process_of(name: str) -> str:
    """Return which process bears this name, for its user to find it."""
    number, has_one, _ = name.partition("-")
    return f"process {number}" if has_one else "a process of an earlier version"


def _file_lock(file: Path, timeout_seconds: float) -> FileLock:
    # Neither a singleton for each path nor counted for each thread: two holders of one process must exclude each other,
    # and a lock may be released on another thread than the one that took it.
    lock = FileLock(file, timeout_seconds, poll_interval=POLL_SECONDS, is_singleton=False, thread_local=False)
    _LOCKS.add(lock)
    return lock


_LOCKS: Final = WeakSet[FileLock]()


def _close_inherited_locks() -> None:
    """Close the descriptors of locks that a fork has copied: a lock would last as long as the child, or end with it.

    Closing a copy unlocks nothing. Recent versions of filelock do the same, then nothing is left to be closed.
    """
    for lock in list(_LOCKS):
        if (descriptor := lock._context.lock_file_fd) is not None:
            lock._context.lock_file_fd = None
            os.close(descriptor)


os.register_at_fork(after_in_child=_close_inherited_locks)
