"""The port ``Disk`` over a catalog of files and a place of objects: what reads a disk reads a bucket.

To list and to examine costs no request. A file is read with one, as a whole, and what was read is kept for a while; see
``ObjectReader``. A folder that is open is a snapshot: it has the files of one moment, which stay readable. What is
written is a pack of one file; whatever writes many files publishes them as a group instead, see ``ObjectFiles``.

``StoreUnreachableError`` and ``StateError`` of the server and of the database pass through: they are of no single file.
That an object is lost is: it is an ``OSError``, as of a disk that has lost a sector.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from marketpipe.shared_kernel.domain.errors import ObjectLostError
from marketpipe.shared_kernel.domain.object_catalog import FileCatalog, PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath, Buffer, Disk, FoundEntry
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.objects.file_tree import FileTree, refuse
from marketpipe.storage.infrastructure.objects.object_reader import ObjectReader
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.objects.opened_files import (
    WRITES,
    Listing,
    OpenedFile,
    OpenedFolder,
    folder_status,
    status_of,
)
from marketpipe.storage.infrastructure.objects.packs import ENDS

if TYPE_CHECKING:
    import pyarrow as pa

FIRST_DESCRIPTOR: Final = 1 << 30
"""No descriptor of the system is as large."""
Opened = OpenedFile | OpenedFolder


class ObjectDisk:
    """A ``Disk``. Paths that are not below its places are those of the disk of the ``machine``.

    Its files have neither owners nor rights, locks nor attributes, and no symbolic link is among them.
    """

    def __init__(
        self,
        catalog: FileCatalog,
        store: ObjectStore,
        places: Mapping[str, str],
        machine: Machine,
        now_ns: Callable[[], int],
    ) -> None:
        """``places`` are the areas of the store by their paths, such as ``{"/s3:/bucket/bars": "data"}``."""
        self._places, self._other_disk, self._now_ns = dict(places), machine.disk, now_ns
        self._tops = {place.split("/")[1] for place in places}
        self._tree = FileTree(catalog, store, machine.new_name, now_ns, machine.threads, machine.monotonic)
        self._reader = ObjectReader(store, catalog.below, machine.threads)
        self._opened, self._next, self._lock = dict[int, Opened](), FIRST_DESCRIPTOR, machine.threads.lock()

    def bring(self, files: Iterable[PlacedFile]) -> None:
        """Read files that are going to be read, in few requests; see ``ObjectReader.bring``."""
        self._reader.bring(files)

    # Descriptors

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with _named(path):
            if dir_fd is not None:
                return self._open_at(os.fspath(path), flags, mode, dir_fd)
            at = self._at(path)
            if at is None:
                return self._other_disk.open(path, flags, mode)
            return self._new(self._open(at, flags))

    def _open_at(self, name: str, flags: int, mode: int, dir_fd: int) -> int:
        if dir_fd < FIRST_DESCRIPTOR:
            return self._other_disk.open(name, flags, mode, dir_fd=dir_fd)
        folder = self._folder(dir_fd)
        if flags & WRITES or "/" in name or name in folder.content.folders:
            return self._new(self._open(f"{folder.path}/{name}", flags))
        return self._new(self._opened_file(folder.file(name), flags))

    def _open(self, path: str, flags: int) -> Opened:
        if flags & os.O_CREAT:
            file = self._tree.find(path)
            if file is None and not self._tree.is_folder(path):
                self._tree.refuse_without_folder(path)
                file = self._tree.write(path, b"", self._now_ns())
            elif flags & os.O_EXCL:
                refuse(errno.EEXIST)
        else:
            file = self._tree.found(path)
        if file is not None:
            return self._opened_file(file, flags)
        if flags & (WRITES | os.O_CREAT):
            refuse(errno.EISDIR)
        return OpenedFolder(path, self._tree.content_of(path))

    def _opened_file(self, file: PlacedFile, flags: int) -> OpenedFile:
        if flags & os.O_DIRECTORY:
            refuse(errno.ENOTDIR)
        return OpenedFile(file, flags, self._content, self._tree, self._now_ns, self._end)

    def _new(self, opened: Opened) -> int:
        with self._lock:
            self._next += 1
            self._opened[self._next] = opened
            return self._next

    def close(self, fd: int, /) -> None:
        if fd < FIRST_DESCRIPTOR:
            self._other_disk.close(fd)
            return
        with self._lock:
            opened = self._opened.pop(fd, None)
        if opened is None:
            refuse(errno.EBADF)
        opened.store()

    def read(self, fd: int, length: int, /) -> bytes:
        return self._other_disk.read(fd, length) if fd < FIRST_DESCRIPTOR else self._file(fd).read(length)

    def pread(self, fd: int, length: int, offset: int, /) -> bytes:
        if fd < FIRST_DESCRIPTOR:
            return self._other_disk.pread(fd, length, offset)
        return self._file(fd).pread(length, offset)

    def write(self, fd: int, data: Buffer, /) -> int:
        return self._other_disk.write(fd, data) if fd < FIRST_DESCRIPTOR else self._file(fd).write(data)

    def pwrite(self, fd: int, data: Buffer, offset: int, /) -> int:
        if fd < FIRST_DESCRIPTOR:
            return self._other_disk.pwrite(fd, data, offset)
        return self._file(fd).pwrite(data, offset)

    def fsync(self, fd: int, /) -> None:
        self._other_disk.fsync(fd) if fd < FIRST_DESCRIPTOR else self._any(fd).store()

    def fstat(self, fd: int, /) -> os.stat_result:
        return self._other_disk.fstat(fd) if fd < FIRST_DESCRIPTOR else self._any(fd).status()

    def begin_to_store(self, fd: int, /) -> None:
        if fd < FIRST_DESCRIPTOR:
            self._other_disk.begin_to_store(fd)

    def flock(self, fd: int, operation: int, /) -> None:
        self._other_disk.flock(fd, operation) if fd < FIRST_DESCRIPTOR else refuse(errno.ENOTSUP)

    # What is there

    def stat(
        self, path: AnyPath | int, /, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        if isinstance(path, int):
            return self.fstat(path)
        with _named(path):
            if dir_fd is not None and dir_fd >= FIRST_DESCRIPTOR:
                return self._status_at(self._folder(dir_fd), os.fspath(path))
            at = None if dir_fd is not None else self._at(path)
            if at is None:
                return self._other_disk.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
            return self._status(at)

    def _status_at(self, folder: OpenedFolder, name: str) -> os.stat_result:
        if "/" in name:
            return self._status(f"{folder.path}/{name}")
        if name in folder.content.folders:
            return folder_status(f"{folder.path}/{name}")
        return status_of(folder.file(name))

    def lstat(self, path: AnyPath, /, *, dir_fd: int | None = None) -> os.stat_result:
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def _status(self, path: str) -> os.stat_result:
        if not path:
            return folder_status(path)
        file = self._tree.found(path)
        return folder_status(path) if file is None else status_of(file)

    def listdir(self, path: AnyPath | int, /) -> list[str]:
        with _named(path):
            folder = self._folder_at(path)
            return self._other_disk.listdir(path) if folder is None else [*folder.content]

    def scandir(self, path: AnyPath | int, /) -> Any:
        with _named(path):
            folder = self._folder_at(path)
            if folder is None:
                return self._other_disk.scandir(path)
            return Listing(folder, "" if isinstance(path, int) else os.fspath(path))

    def files_in(self, folder: str, /) -> list[FoundEntry]:
        with _named(folder):
            try:
                found = self._folder_at(folder)
            except FileNotFoundError:
                return []
            if found is None:
                return self._other_disk.files_in(folder)
            files = [(name, file.size, file.modified_ns) for name, file in found.content.files.items()]
            return [*files, *((name, None, 0) for name in found.content.folders)]

    # Names

    def mkdir(self, path: AnyPath, /, mode: int = 0o777) -> None:
        with _named(path):
            at = self._at(path)
            self._other_disk.mkdir(path, mode) if at is None else self._tree.make_folder(at)

    def rmdir(self, path: AnyPath, /) -> None:
        with _named(path):
            at = self._at(path)
            self._other_disk.rmdir(path) if at is None else self._tree.remove_folder(at)

    def unlink(self, path: AnyPath, /) -> None:
        with _named(path):
            at = self._at(path)
            self._other_disk.unlink(path) if at is None else self._tree.remove(at)

    def replace(self, source: AnyPath, target: AnyPath, /) -> None:
        self._both(source, target, self._other_disk.replace, self._tree.move)

    def link(self, source: AnyPath, target: AnyPath, /) -> None:
        self._both(source, target, self._other_disk.link, self._tree.link)

    def exchange(self, one: AnyPath, other: AnyPath, /) -> None:
        self._both(one, other, self._other_disk.exchange, self._tree.exchange)

    def _both(
        self,
        one: AnyPath,
        other: AnyPath,
        elsewhere: Callable[[AnyPath, AnyPath], None],
        here: Callable[[str, str], None],
    ) -> None:
        with _named(one, other):
            first, second = self._at(one), self._at(other)
            if first is None and second is None:
                elsewhere(one, other)
            elif first is None or second is None:
                refuse(errno.EXDEV)
            else:
                here(first, second)

    def utime(self, path: AnyPath | int, /, *, ns: tuple[int, int]) -> None:
        if isinstance(path, int):
            self._other_disk.utime(path, ns=ns) if path < FIRST_DESCRIPTOR else self._any(path).set_time(ns[1])
            return
        with _named(path):
            at = self._at(path)
            if at is None:
                self._other_disk.utime(path, ns=ns)
            elif at and self._tree.found(at) is not None:
                self._tree.set_time(at, ns[1])

    # Rights, which all files have alike

    def chmod(self, path: AnyPath | int, /, mode: int) -> None:
        if self._is_elsewhere(path):
            self._other_disk.chmod(path, mode)
        elif self.stat(path).st_mode & 0o7777 != mode:
            refuse(errno.ENOTSUP)

    def chown(self, path: AnyPath | int, /, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        if self._is_elsewhere(path):
            self._other_disk.chown(path, uid, gid, follow_symlinks=follow_symlinks)
        elif any(each not in (0, -1) for each in (uid, gid)):
            refuse(errno.EPERM)

    def getxattr(self, path: AnyPath, name: str, /, *, follow_symlinks: bool = True) -> bytes:
        return self._having_attributes(path).getxattr(path, name, follow_symlinks=follow_symlinks)

    def setxattr(self, path: AnyPath, name: str, value: bytes, /, *, follow_symlinks: bool = True) -> None:
        self._having_attributes(path).setxattr(path, name, value, follow_symlinks=follow_symlinks)

    def removexattr(self, path: AnyPath, name: str, /, *, follow_symlinks: bool = True) -> None:
        self._having_attributes(path).removexattr(path, name, follow_symlinks=follow_symlinks)

    def _having_attributes(self, path: AnyPath) -> Disk:
        with _named(path):
            return self._other_disk if self._is_elsewhere(path) else refuse(errno.ENOTSUP)

    # Whole files, for Arrow

    def opened(self, path: str, /) -> pa.NativeFile:
        at = self._at(path)
        if at is None:
            return self._other_disk.opened(path)
        import pyarrow as pa  # here, as in the adapter of the system

        return pa.BufferReader(self._whole(path, at))

    def mapped(self, path: str, /) -> pa.Buffer:
        at = self._at(path)
        if at is None:
            return self._other_disk.mapped(path)
        import pyarrow as pa  # here, as above

        return pa.py_buffer(self._whole(path, at))

    def _whole(self, path: str, at: str) -> bytes:
        with _named(path):
            file = self._tree.found(at) if at else None
            return refuse(errno.EISDIR) if file is None else self._content(file)

    # Where a path leads

    def _at(self, path: AnyPath) -> str | None:
        """Return the path in the store; None if it leads elsewhere, and "" for a folder above the areas."""
        text = os.fspath(path)
        if not text.startswith("/") or text[1:].partition("/")[0] not in self._tops:
            return None
        whole = os.path.normpath(text)
        for place, area in self._places.items():
            if whole == place:
                return area
            if whole.startswith(f"{place}/"):
                return area + whole[len(place) :]
            if place.startswith(f"{whole}/"):
                return ""
        return refuse(errno.ENOENT)

    def _is_elsewhere(self, path: AnyPath | int) -> bool:
        return path < FIRST_DESCRIPTOR if isinstance(path, int) else self._at(path) is None

    def _folder_at(self, path: AnyPath | int) -> OpenedFolder | None:
        """Return what is in a folder; None if it is elsewhere."""
        if isinstance(path, int):
            return None if path < FIRST_DESCRIPTOR else self._folder(path)
        at = self._at(path)
        return None if at is None else OpenedFolder(at, self._tree.content_of(at))

    def _any(self, fd: int) -> Opened:
        return self._opened.get(fd) or refuse(errno.EBADF)

    def _folder(self, fd: int) -> OpenedFolder:
        opened = self._any(fd)
        return opened if isinstance(opened, OpenedFolder) else refuse(errno.ENOTDIR)

    def _file(self, fd: int) -> OpenedFile:
        opened = self._any(fd)
        return opened if isinstance(opened, OpenedFile) else refuse(errno.EISDIR)

    def _end(self, file: PlacedFile) -> bytes | None:
        """Return the last bytes of a month file, if they are known without a request."""
        if self._reader.has(file) or not file.path.endswith(f"/{MONTH_FILE}"):
            return None
        found = self._tree.find(f"{ENDS}{file.path}")
        return found.content if found is not None and found.modified_ns == file.modified_ns else None

    def _content(self, file: PlacedFile) -> bytes:
        try:
            return self._reader.read(file)
        except ObjectLostError as error:
            raise OSError(errno.ENXIO, str(error)) from error  # unlike EIO: nobody will read it another time


@contextmanager
def _named(*paths: AnyPath | int) -> Iterator[None]:
    """Put the paths into errors, as the system does."""
    try:
        yield
    except OSError as error:
        names = [os.fspath(path) for path in paths if not isinstance(path, int)]
        if error.filename is None and names:
            error.filename, error.filename2 = names[0], names[1] if len(names) > 1 else None
        raise
