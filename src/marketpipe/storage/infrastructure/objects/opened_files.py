"""What is open on a disk of objects: a folder, which is a snapshot, and a file, which is read or written as a whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final

from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.disk import Buffer, Entry
from marketpipe.storage.infrastructure.objects.file_tree import FileTree, FolderContent, is_own, refuse

FILE_MODE: Final = stat.S_IFREG | 0o644
FOLDER_MODE: Final = stat.S_IFDIR | 0o755
WRITES: Final = os.O_WRONLY | os.O_RDWR
DEVICE: Final = 1 << 40
"""As that of no file system here."""
SECOND: Final = 1_000_000_000


def status_of(file: PlacedFile) -> os.stat_result:
    """Two files of the same bytes in the same object are the same one: no object ever changes."""
    where = f"{file.object}:{file.offset}" if file.object else f"{file.path}:{file.modified_ns}"
    return _status(FILE_MODE, where, file.size, file.modified_ns)


def folder_status(path: str) -> os.stat_result:
    return _status(FOLDER_MODE, f"{path}/", 0, 0)


def _status(mode: int, where: str, size: int, modified_ns: int) -> os.stat_result:
    number = int.from_bytes(blake2b(where.encode(), digest_size=7).digest(), "big")
    seconds = modified_ns // SECOND
    times = {f"st_{each}time": modified_ns / SECOND for each in "amc"}
    times |= {f"st_{each}time_ns": modified_ns for each in "amc"}
    return os.stat_result((mode, number, DEVICE, 1, 0, 0, size, seconds, seconds, seconds), times)


@frozen
class OpenedFolder:
    path: str
    content: FolderContent

    def file(self, name: str) -> PlacedFile:
        found = self.content.files.get(name)
        return refuse(errno.ENOENT) if found is None else found

    def status(self) -> os.stat_result:
        return folder_status(self.path)

    def store(self) -> None:
        """Do nothing: its names are durable."""

    def set_time(self, modified_ns: int) -> None:
        """Do nothing: a folder has no time."""


class OpenedFile:
    """A file. What is written to it is in memory until ``store``, but for what is appended."""

    def __init__(
        self,
        file: PlacedFile,
        flags: int,
        content: Callable[[PlacedFile], bytes],
        tree: FileTree,
        now_ns: Callable[[], int],
        end: Callable[[PlacedFile], bytes | None] = lambda _: None,
    ) -> None:
        """``end`` returns the last bytes of a file, if they are known without reading it."""
        self._end = end
        self._file, self._flags, self._content, self._tree, self._now_ns = file, flags, content, tree, now_ns
        self._written: bytearray | None = None
        self._position, self._time = 0, None if not flags & os.O_TRUNC else now_ns()
        if flags & os.O_TRUNC and flags & WRITES and file.size:
            self._written = bytearray()

    def read(self, length: int) -> bytes:
        found = self.pread(length, self._position)
        self._position += len(found)
        return found

    def pread(self, length: int, offset: int) -> bytes:
        if self._flags & os.O_WRONLY:
            refuse(errno.EBADF)
        if min(length, offset) < 0:
            refuse(errno.EINVAL)
        if self._written is None and (end := self._end(self._file)) and offset + len(end) >= self._file.size:
            return end[len(end) - self._file.size + offset :][:length]
        return bytes(self._bytes()[offset : offset + length])

    def write(self, data: Buffer) -> int:
        if self._flags & os.O_APPEND:
            return self._append(bytes(data))
        count = self.pwrite(data, self._position)
        self._position += count
        return count

    def pwrite(self, data: Buffer, offset: int) -> int:
        if not self._flags & WRITES:
            refuse(errno.EBADF)
        if offset < 0:
            refuse(errno.EINVAL)
        if self._written is None:
            self._written = bytearray(self._bytes())
        count, missing = memoryview(data).nbytes, offset - len(self._written)
        if count and missing > 0:
            self._written += bytes(missing)
        self._written[offset : offset + count] = data
        if count:
            self._time = self._now_ns()
        if is_own(self._file.path):  # it costs nothing, and it may be renamed before it is closed
            self.store()
        return count

    def _append(self, lines: bytes) -> int:
        if not self._flags & WRITES:
            refuse(errno.EBADF)
        path = self._file.path
        found = self._tree.find(path)
        if found is not None and found.content is None:  # such as one that was copied into the store
            self._tree.make_inline(path, self._content(found), found.modified_ns)
        if found is not None and lines:
            self._tree.append(path, lines)
            self._file = self._tree.find(path) or self._file
            self._position = self._file.size
        return len(lines)

    def store(self) -> None:
        """Make durable what was written, unless the file has been removed or replaced meanwhile."""
        if self._written is None:
            return
        content, self._written = bytes(self._written), None
        modified_ns = self._file.modified_ns if self._time is None else self._time
        self._file = PlacedFile.inline(self._file.path, content, modified_ns)
        if self._tree.find(self._file.path) is not None:
            self._file = self._tree.write(self._file.path, content, modified_ns)

    def set_time(self, modified_ns: int) -> None:
        former, self._time = self._file, modified_ns
        self._file = evolve(former, modified_ns=modified_ns)
        if self._written is None and self._tree.find(former.path) == former:  # else another one has its name by now
            self._tree.set_time(former.path, modified_ns)

    def status(self) -> os.stat_result:
        if self._written is None:
            return status_of(self._file)
        modified_ns = self._file.modified_ns if self._time is None else self._time
        return status_of(PlacedFile.inline(self._file.path, bytes(self._written), modified_ns))

    def _bytes(self) -> bytes | bytearray:
        return self._content(self._file) if self._written is None else self._written


class FileEntry:
    """An entry of a folder, as ``os.scandir`` gives it."""

    __slots__ = ("_file", "_where", "name", "path")

    def __init__(self, name: str, folder: str, where: str, file: PlacedFile | None) -> None:
        self.name, self.path, self._file = name, f"{folder}/{name}" if folder else name, file
        self._where = f"{where}/{name}"

    def __fspath__(self) -> str:
        return self.path

    def is_dir(self, **_: bool) -> bool:
        return self._file is None

    def is_file(self, **_: bool) -> bool:
        return self._file is not None

    def is_symlink(self) -> bool:
        return False

    def stat(self, **_: bool) -> os.stat_result:
        return folder_status(self._where) if self._file is None else status_of(self._file)

    def inode(self) -> int:
        return self.stat().st_ino


class Listing:
    """The entries of a folder, as ``os.scandir`` returns them."""

    def __init__(self, folder: OpenedFolder, path: str) -> None:
        self._entries = self._made(folder, path)

    @staticmethod
    def _made(folder: OpenedFolder, path: str) -> Iterator[Entry]:
        for name, file in folder.content.files.items():
            yield FileEntry(name, path, folder.path, file)
        for name in folder.content.folders:
            yield FileEntry(name, path, folder.path, None)

    def __iter__(self) -> Iterator[Entry]:
        return self._entries

    def __next__(self) -> Entry:
        return next(self._entries)

    def __enter__(self) -> Iterator[Entry]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: it is a snapshot."""
