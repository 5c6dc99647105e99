"""Writing files under temporary names, many together, so that each can be put in its place when all are durable."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, remove
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.publishing.temporary_files import temporary_name

COARSE_STEPS_NS: Final = (0, 2_000_000_000, 4_000_000_000)
"""Times are cut to two seconds by FAT, to one by others; at most two times are taken: the stored and the recorded."""


@frozen
class NewFile:
    """A file to be written. ``modified_ns``, if given, becomes its modification time.

    A file system with a coarse clock may make one of the ``taken_times`` of it (in microseconds since 1970), by which
    the file could be confused with others; it then gets a later time.
    """

    path: Path
    content: bytes = field(repr=False)
    modified_ns: int | None = None
    taken_times: Collection[int] = ()


@frozen
class StagedFile:
    """A file that is durable under a temporary name, which no reader opens. ``modified_ns`` is the actual time."""

    path: Path
    temporary: str
    modified_ns: int
    disk: Disk = field(default=REAL_DISK, repr=False, eq=False)

    def publish(self) -> None:
        """Give the file its name, and replace what has it. Raises ``OSError``."""
        with Naming(self.path):
            self.disk.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Remove the file unless it was published. Raises ``OSError``."""
        remove(self.disk, self.temporary)


def write_and_sync(files: Sequence[NewFile], machine: Machine = HERE) -> Sequence[StagedFile]:
    """Write files under temporary names and make them durable. Raises ``OSError``; then none of them remains.

    All are written before the first is synced, and all are on their way to the disk by then: it commits them together.
    """
    written, are_durable, disk = list[_Written](), False, machine.disk
    try:
        for file in files:
            folder, name = os.path.split(file.path)
            temporary = f"{folder}/{temporary_name(name, machine)}"
            with Naming(file.path):
                descriptor = _new_file(temporary, disk)
                written.append(_Written(file, temporary, descriptor, disk))
                written[-1].complete(disk.write(descriptor, file.content))
        for each in written:
            with suppress(OSError):  # or each of many syncs in a row would begin its own commit
                disk.begin_to_store(each.descriptor)
        staged = [each.synced() for each in written]
        for each in written:
            each.close()
        are_durable = True
        return staged
    finally:
        if not are_durable:
            for each in written:
                each.discard()


class _Written:
    """A new file under its temporary name, open to be written and synced."""

    __slots__ = ("_disk", "_file", "_is_open", "_temporary", "descriptor")

    def __init__(self, file: NewFile, temporary: str, descriptor: int, disk: Disk) -> None:
        self._disk = disk
        self._file, self._temporary, self.descriptor, self._is_open = file, temporary, descriptor, True

    def complete(self, count: int) -> None:
        """Write what the system left of the content after its first ``count`` bytes, and set the time."""
        content, modified_ns, taken = self._file.content, self._file.modified_ns, self._file.taken_times
        disk = self._disk
        while count < len(content):
            count += disk.write(self.descriptor, memoryview(content)[count:])
        if modified_ns is not None:  # before the sync, or a crash could lose it
            for later_ns in COARSE_STEPS_NS:
                disk.utime(self.descriptor, ns=(modified_ns + later_ns, modified_ns + later_ns))
                if not taken or disk.fstat(self.descriptor).st_mtime_ns // 1000 not in taken:
                    break

    def synced(self) -> StagedFile:
        path, descriptor = self._file.path, self.descriptor
        with Naming(path):
            self._disk.fsync(descriptor)
            modified_ns = self._disk.fstat(descriptor).st_mtime_ns
            return StagedFile(path, self._temporary, modified_ns, self._disk)

    def close(self) -> None:
        self._is_open = False  # also if it fails: by then another thread may have the number
        with Naming(self._file.path):
            self._disk.close(self.descriptor)

    def discard(self) -> None:
        """Remove it, as far as that is possible: another error has been raised."""
        with suppress(OSError):
            self._disk.unlink(self._temporary)
        if self._is_open:
            with suppress(OSError):
                self.close()


class Naming:
    """Puts the path into errors: one from a write names no file, and one from a temporary file names the wrong one.

    A class, because it is entered four times for each file: a generator takes three times as long.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            error.filename = str(self._path)


def _new_file(path: str, disk: Disk) -> int:
    """Open a new file, never an existing one: in a folder that others may write to that may be a link elsewhere."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return disk.open(path, flags, 0o666)
    except FileExistsError:
        disk.unlink(path)
        return disk.open(path, flags, 0o666)
