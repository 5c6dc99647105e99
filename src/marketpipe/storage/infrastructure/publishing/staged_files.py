"""Writing files under temporary names, many together, so that each can be put in its place when all are durable."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

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

    def publish(self) -> None:
        """Give the file its name, and replace what has it. Raises ``OSError``."""
        with Naming(self.path):
            os.replace(self.temporary, self.path)


def write_and_sync(files: Sequence[NewFile]) -> Sequence[StagedFile]:
    """Write files under temporary names and make them durable. Raises ``OSError``; then none of them remains.

    All are written before the first is synced, and all are on their way to the disk by then: it commits them together.
    """
    written, are_durable = list[_Written](), False
    try:
        for file in files:
            folder, name = os.path.split(file.path)
            temporary = f"{folder}/{temporary_name(name)}"
            with Naming(file.path):
                written.append(_Written(file, temporary, descriptor := _new_file(temporary)))
                written[-1].complete(os.write(descriptor, file.content))
        for each in written:
            _begin_to_store(each.descriptor)
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

    __slots__ = ("_file", "_is_open", "_temporary", "descriptor")

    def __init__(self, file: NewFile, temporary: str, descriptor: int) -> None:
        self._file, self._temporary, self.descriptor, self._is_open = file, temporary, descriptor, True

    def complete(self, count: int) -> None:
        """Write what the system left of the content after its first ``count`` bytes, and set the time."""
        content, modified_ns, taken = self._file.content, self._file.modified_ns, self._file.taken_times
        while count < len(content):
            count += os.write(self.descriptor, memoryview(content)[count:])
        if modified_ns is not None:  # before the sync, or a crash could lose it
            for later_ns in COARSE_STEPS_NS:
                os.utime(self.descriptor, ns=(modified_ns + later_ns, modified_ns + later_ns))
                if not taken or os.fstat(self.descriptor).st_mtime_ns // 1000 not in taken:
                    break

    def synced(self) -> StagedFile:
        path, descriptor = self._file.path, self.descriptor
        with Naming(path):
            os.fsync(descriptor)
            return StagedFile(path, self._temporary, os.fstat(descriptor).st_mtime_ns)

    def close(self) -> None:
        self._is_open = False  # also if it fails: by then another thread may have the number
        with Naming(self._file.path):
            os.close(self.descriptor)

    def discard(self) -> None:
        """Remove it, as far as that is possible: another error has been raised."""
        with suppress(OSError):
            os.unlink(self._temporary)
        if self._is_open:
            with suppress(OSError):
                self.close()


def _begin_to_store(descriptor: int) -> None:
    """Make the system write a file's pages to the disk now, without waiting for it, where it can be asked to.

    The sync alone makes a file durable. Without this each of many syncs in a row would begin its own commit.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what is on its way stays in the cache


def unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


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


def _new_file(path: str) -> int:
    """Open a new file, never an existing one: in a folder that others may write to that may be a link elsewhere."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o666)
