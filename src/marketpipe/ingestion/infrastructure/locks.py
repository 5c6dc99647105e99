"""Locks on files: an exclusive lock, and the names of the processes that share a state file.

The operating system releases a file lock when its process ends, however it ends: a lock never outlives its holder.
A forked child owns no lock of its parent: it shares the open files, so it closes its own descriptors at once, and never
unlocks or deletes one of these files.
"""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet

from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError
from marketpipe.shared_kernel.infrastructure.machine.disk import exists, make_folders, matching, remove
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

SHORTEST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.25
PART_OF_THE_WAIT: Final = 50
"""Who has waited for so many seconds asks again a second later: a long wait costs few calls."""
FOR_EVER: Final = -1.0
AT_ONCE: Final = 0.0
ANY_HOLDER: Final = "another command of this store"
NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class ExclusiveFileLock:
    """``ExclusiveLock`` on one file.

    A lock that waits is not made if its folder is missing: then no process ingests, and nothing has to be locked.
    """

    def __init__(
        self,
        path: Path,
        *,
        waits: bool,
        holder: str = ANY_HOLDER,
        longest_wait_seconds: float = FOR_EVER,
        machine: Machine = HERE,
    ) -> None:
        """``holder`` says in an error what may hold the lock."""
        self._path, self._waits, self._longest_wait, self._machine = path, waits, longest_wait_seconds, machine
        self._holder = holder

    @contextmanager
    def acquired(self) -> Iterator[None]:
        if self._waits and not self._has_folder():
            yield
            return
        lock, process = self._acquired(), os.getpid()
        try:
            yield
        finally:
            if os.getpid() == process:
                lock.release()

    def _has_folder(self) -> bool:
        with suppress(OSError):
            return exists(self._machine.disk, self._path.parent)
        return False

    def _acquired(self) -> FileLock:
        lock = FileLock(self._path, self._machine)
        try:
            make_folders(self._machine.disk, self._path.parent)
            is_ours = lock.acquire(self._longest_wait if self._waits else AT_ONCE)
        except OSError as error:
            raise StateError(
                f"cannot lock {self._path}: {error.strerror}; free space or allow writing there"
            ) from error
        if is_ours:
            return lock
        if self._waits:
            raise StoreBusyError(
                f"another process has held {self._path} for {self._longest_wait:g} s: continue it, or end it"
            )
        raise StoreBusyError(refusal(self._holder, f"it holds {self._path}"))


def refusal(holder: str, who: str) -> str:
    """Return what is said to those who do not wait."""
    return f"{holder} is running ({who}): nothing was done; try again when it has ended"


class HolderLock:
    """The name of a process among those who share a state file: a lock on a file of that name, for as long as it lives.

    A process that can lock such a file knows that its holder has ended. Raises ``OSError`` if no file can be created.
    """

    def __init__(self, state_path: Path, machine: Machine = HERE) -> None:
        self._folder, self._prefix = state_path.parent, f"{state_path.name}.holder-"
        self._lock: FileLock | None = None
        self._machine, self._process = machine, os.getpid()
        self._name = f"{machine.processes.number()}-{machine.new_name()}"

    def name(self) -> str:
        """Return our own name; others see from the first call on that we live."""
        if self._lock is None:
            lock = FileLock(self._file(self._name), self._machine)
            lock.acquire(AT_ONCE)
            self._lock = lock
        return self._name

    def is_alive(self, name: str) -> bool:
        """Whether the process of that name lives; the file of one that has ended is deleted."""
        if name == self._name:
            return self._lock is not None
        disk, file = self._machine.disk, self._file(name)
        try:
            # Opened for reading and locked as by a reader: a state may also be in a folder that is read-only. There
            # the file of a dead process stays.
            opened = disk.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        try:
            disk.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with suppress(OSError):
                disk.unlink(file)
        except BlockingIOError:
            return True
        finally:
            disk.close(opened)
        return False

    def others(self) -> bool:
        """Whether another process that shares the state file lives."""
        found = matching(self._machine.disk, self._folder, f"{glob.escape(self._prefix)}*")
        names = [file.name.removeprefix(self._prefix) for file in found]
        return any(self.is_alive(name) for name in names if name != self._name)

    def close(self) -> None:
        """Delete the file and release the lock. In a forked child it does nothing: the lock is the parent's."""
        if self._lock is not None and os.getpid() == self._process:
            with suppress(OSError):  # the folder may have been deleted meanwhile
                remove(self._machine.disk, self._file(self._name))
            self._lock.release()
            self._lock = None

    def _file(self, name: str) -> Path:
        return self._folder / f"{self._prefix}{name}"


class FileLock:
    """An exclusive lock on a file, which is made if it is missing. Two of one process exclude each other too."""

    def __init__(self, path: Path, machine: Machine = HERE) -> None:
        self._path, self._machine = path, machine
        self._descriptor: int | None = None

    def acquire(self, longest_wait: float) -> bool:
        """Return whether the lock is ours, at most so many seconds later. Raises ``OSError``."""
        begin = self._machine.monotonic()
        while not self._try_once():
            waited = self._machine.monotonic() - begin
            if 0 <= longest_wait <= waited:
                return False
            self._machine.pause(min(max(SHORTEST_PAUSE, waited / PART_OF_THE_WAIT), LONGEST_PAUSE))
        _LOCKS.add(self)
        return True

    def release(self) -> None:
        """Unlock the file, which stays. What the lock protected is done: an error of the disk changes nothing of it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                self._machine.disk.flock(descriptor, fcntl.LOCK_UN)
            with suppress(OSError):
                self._machine.disk.close(descriptor)

    def forget(self) -> None:
        """Close what a fork has copied, without unlocking it: the lock is the parent's."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self._machine.disk.close(descriptor)

    def _try_once(self) -> bool:
        """Return whether the lock is ours now, without waiting for it."""
        disk = self._machine.disk
        descriptor = disk.open(self._path, NEW_FILE, 0o666)
        try:
            disk.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if disk.fstat(descriptor).st_nlink:  # else it was deleted meanwhile, and locks nothing
                self._descriptor = descriptor
        except BlockingIOError:
            pass
        finally:
            if self._descriptor is None:
                disk.close(descriptor)
        return self._descriptor is not None


def process_of(name: str) -> str:
    """Return which process bears this name, for its user to find it."""
    number, has_one, _ = name.partition("-")
    return f"process {number}" if has_one else "a process of an earlier version"


_LOCKS: Final = WeakSet[FileLock]()


def _close_inherited_locks() -> None:
    """Close the descriptors of locks that a fork has copied: a lock would last as long as the child, or end with it."""
    for lock in list(_LOCKS):
        lock.forget()


os.register_at_fork(after_in_child=_close_inherited_locks)
