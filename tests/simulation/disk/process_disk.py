"""The calls of one process on a modelled disk: what ``os`` does on Linux, with descriptors of its own.

Permissions are not modelled: each process may do all, as the superuser may.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import Any, Final

import pyarrow as pa

from marketpipe.shared_kernel.infrastructure.machine.disk import FoundEntry
from tests.simulation.disk.descriptors import WRITES, AnyPath, Buffer, Descriptors, Opened, text_of
from tests.simulation.disk.entries import Entry, Listing
from tests.simulation.disk.inodes import Change, Inode, Place, error, is_within

SHORT_WRITE: Final = "short write"
"""The kind of a fault that this module carries out: only half is written."""


class ProcessDisk(Descriptors):
    """A ``Disk``."""

    # Descriptors

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with self._named("open", path):
            start = self._start(path, dir_fd)
            inode = self._made_or_found(text_of(path), flags, mode, start)
            _refuse_kind(inode, flags)
            if stat.S_ISFIFO(inode.mode) and not flags & (os.O_NONBLOCK | os.O_RDWR):
                self._process.scheduler.block(lambda: False)  # a pipe: nobody will ever open its other end
            if flags & WRITES:
                self._disk.refuse_if_read_only()
            if flags & os.O_TRUNC and inode.is_file:
                self._disk.cut_file(inode)
            inode.opened += 1
            self._next += 1
            self._opened[self._next] = Opened(inode, flags, self._where(path, dir_fd))
            return self._next

    def close(self, fd: int, /) -> None:
        if self._process.dead:
            return
        opened = self._opened.pop(fd, None)
        if opened is None:
            raise error(errno.EBADF)
        try:
            self._process.call("close", opened.path)
        finally:
            self._let_go(opened)

    def read(self, fd: int, length: int, /) -> bytes:
        opened = self._readable("read", fd)
        found = opened.inode.bytes()[opened.position : opened.position + length]
        opened.position += len(found)
        return found

    def pread(self, fd: int, length: int, offset: int, /) -> bytes:
        opened = self._readable("pread", fd, offset)
        return opened.inode.bytes()[offset : offset + length]

    def write(self, fd: int, data: Buffer, /) -> int:
        opened, fault = self._writable("write", fd)
        offset = len(opened.inode.content) if opened.flags & os.O_APPEND else opened.position
        written = self._write(opened, data, offset, fault)
        opened.position = offset + written
        return written

    def pwrite(self, fd: int, data: Buffer, offset: int, /) -> int:
        opened, fault = self._writable("pwrite", fd, offset)
        if opened.flags & os.O_APPEND:  # as on Linux, whatever POSIX says
            offset = len(opened.inode.content)
        return self._write(opened, data, offset, fault)

    def fsync(self, fd: int, /) -> None:
        opened, _ = self._of("fsync", fd)
        if not opened.inode.is_kept() or opened.inode.unsynced:
            self._disk.refuse_if_read_only()
            self._disk.sync(opened.inode)

    def begin_to_store(self, fd: int, /) -> None:
        with suppress(OSError):
            self._of("begin_to_store", fd)

    def fstat(self, fd: int, /) -> os.stat_result:
        return self._of("fstat", fd)[0].inode.status()

    def flock(self, fd: int, operation: int, /) -> None:
        opened, _ = self._of("flock", fd)
        held = self._disk.locks.setdefault(opened.inode, {})
        kind = operation & ~fcntl.LOCK_NB
        if kind == fcntl.LOCK_UN:
            held.pop(opened, None)
            return
        if kind not in (fcntl.LOCK_SH, fcntl.LOCK_EX):
            raise error(errno.EINVAL)
        if held.get(opened, kind) != kind:
            del held[opened]  # as on Linux: a lock is given up before it is exchanged for one of the other kind

        def is_free() -> bool:
            others = [each for holder, each in held.items() if holder is not opened]
            return not others if kind == fcntl.LOCK_EX else fcntl.LOCK_EX not in others

        if not is_free():
            if operation & fcntl.LOCK_NB:
                raise error(errno.EAGAIN)
            self._process.scheduler.block(is_free)
        held[opened] = kind

    # Status and listings

    def stat(self, path: AnyPath | int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        if isinstance(path, int):
            return self._of("stat", path)[0].inode.status()
        with self._named("stat", path):
            return self._disk.tree.find(text_of(path), self._start(path, dir_fd), follow=follow_symlinks).status()

    def lstat(self, path: AnyPath, /, *, dir_fd: int | None = None) -> os.stat_result:
        with self._named("lstat", path):
            return self._disk.tree.find(text_of(path), self._start(path, dir_fd), follow=False).status()

    def listdir(self, path: AnyPath | int, /) -> list[str]:
        folder, _, _ = self._listed("listdir", path)
        return [name for name, _ in self._disk.in_order(folder)]

    def scandir(self, path: AnyPath | int, /) -> Listing:
        folder, above, number = self._listed("scandir", path)

        def status(name: str, follow: bool) -> os.stat_result:
            return self.stat(name, dir_fd=number, follow_symlinks=follow)

        return Listing([Entry(name, f"{above}{name}", inode, status) for name, inode in self._disk.in_order(folder)])

    def files_in(self, folder: str, /) -> list[FoundEntry]:
        try:
            with self.scandir(folder) as entries:
                return [_described(entry) for entry in entries]
        except FileNotFoundError:
            return []

    # Names

    def mkdir(self, path: AnyPath, /, mode: int = 0o777) -> None:
        with self._named("mkdir", path):
            place = self._disk.tree.place(text_of(path))
            if place.is_special or place.inode() is not None:
                raise error(errno.EEXIST)
            self._make(place, stat.S_IFDIR | mode & 0o1777 & ~self._disk.umask, f"mkdir {path}")

    def rmdir(self, path: AnyPath, /) -> None:
        with self._named("rmdir", path):
            place = self._disk.tree.place(text_of(path))
            if place.is_special:
                raise error({"": errno.EBUSY, ".": errno.EINVAL, "..": errno.ENOTEMPTY}[place.name])
            inode = self._changeable(place)
            if inode.entries is None:
                raise error(errno.ENOTDIR)
            if inode.entries:
                raise error(errno.ENOTEMPTY)
            self._disk.change(f"rmdir {path}", Change(place.folder, place.name, None))

    def unlink(self, path: AnyPath, /) -> None:
        with self._named("unlink", path):
            place = self._disk.tree.place(text_of(path))
            if place.is_special:
                raise error(errno.EISDIR)
            inode = self._changeable(place)
            if inode.entries is not None:
                raise error(errno.EISDIR)
            if place.slash:
                raise error(errno.ENOTDIR)
            self._disk.change(f"unlink {path}", Change(place.folder, place.name, None))

    def replace(self, source: AnyPath, target: AnyPath, /) -> None:
        with self._named("replace", source, target):
            here, there = self._two_places(source, target)
            moved, replaced = self._changeable(here), there.inode()
            if moved.entries is None and (here.slash or there.slash):
                raise error(errno.ENOTDIR)
            if is_within(there.folder, moved):
                raise error(errno.EINVAL)
            if replaced is moved:
                return
            if replaced is not None:
                _refuse_to_replace(replaced, moved, here)
            changes = Change(here.folder, here.name, None), Change(there.folder, there.name, moved)
            self._disk.change(f"replace {source} {target}", *changes)

    def link(self, source: AnyPath, target: AnyPath, /) -> None:
        with self._named("link", source, target):
            found = self._disk.tree.find(text_of(source), follow=False)
            place = self._disk.tree.place(text_of(target))
            if place.is_special or place.inode() is not None:
                raise error(errno.EEXIST)
            if place.slash:
                raise error(errno.ENOENT)
            self._disk.refuse_if_read_only()
            if found.entries is not None or not self._disk.traits.has_links:
                raise error(errno.EPERM)
            _refuse_gone(place.folder)
            self._disk.change(f"link {source} {target}", Change(place.folder, place.name, found))

    def exchange(self, one: AnyPath, other: AnyPath, /) -> None:
        with self._named("exchange", other):
            here, there = self._two_places(one, other)
            if not self._disk.traits.can_exchange:
                raise error(errno.EINVAL)
            first, second = self._changeable(here), self._changeable(there)
            if (here.slash and first.entries is None) or (there.slash and second.entries is None):
                raise error(errno.ENOTDIR)
            if is_within(there.folder, first) or is_within(here.folder, second):
                raise error(errno.EINVAL)
            if first is not second:
                changes = Change(here.folder, here.name, second), Change(there.folder, there.name, first)
                self._disk.change(f"exchange {one} {other}", *changes)

    # Times and rights

    def utime(self, path: AnyPath | int, /, *, ns: tuple[int, int]) -> None:
        try:
            inode = self._meta("utime", path)
        except OSError as found:  # the only function of ``os`` whose errors name no file
            raise error(found.errno or 0) from None
        inode.accessed, inode.modified = map(self._disk.cut, ns)

    def chmod(self, path: AnyPath | int, /, mode: int) -> None:
        inode = self._meta("chmod", path)
        inode.mode = stat.S_IFMT(inode.mode) | mode & 0o7777

    def chown(self, path: AnyPath | int, /, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        inode = self._meta("chown", path, follow_symlinks)
        inode.user = inode.user if uid == -1 else uid
        inode.group = inode.group if gid == -1 else gid

    def getxattr(self, path: AnyPath, name: str, /, *, follow_symlinks: bool = True) -> bytes:
        found = self._attributes("getxattr", path, follow_symlinks)
        if name not in found:
            raise error(errno.ENODATA, path)
        return found[name]

    def setxattr(self, path: AnyPath, name: str, value: bytes, /, *, follow_symlinks: bool = True) -> None:
        self._attributes("setxattr", path, follow_symlinks)[name] = value

    def removexattr(self, path: AnyPath, name: str, /, *, follow_symlinks: bool = True) -> None:
        if self._attributes("removexattr", path, follow_symlinks).pop(name, None) is None:
            raise error(errno.ENODATA, path)

    def _attributes(self, kind: str, path: AnyPath, follow: bool) -> dict[str, bytes]:
        with self._named(kind, path):
            inode = self._disk.tree.find(text_of(path), follow=follow)
        if self._disk.attributes is None:
            raise error(errno.ENOTSUP, path)
        return self._disk.attributes.setdefault(inode, {})

    # Whole files

    def opened(self, path: str, /) -> pa.NativeFile:
        return pa.BufferReader(pa.py_buffer(self._whole("opened", path)))

    def mapped(self, path: str, /) -> pa.Buffer:
        return pa.py_buffer(self._whole("mapped", path))

    def _whole(self, kind: str, path: str) -> bytes:
        self._process.call(kind, path)
        try:
            inode = self._disk.tree.find(path)
        except OSError as found:
            raise OSError(found.errno, f"Failed to open local file '{path}'. Detail: {found}") from None
        if inode.entries is not None:
            raise OSError(f"Expected file path, but {path} is a directory")
        return inode.bytes()

    def _write(self, opened: Opened, data: Buffer, offset: int, fault: Any) -> int:
        """Write what there is room for. Return how much that is."""
        view = memoryview(data).cast("B")
        is_short = self._disk.traits.short_writes and opened.is_first_write
        if view and (is_short or getattr(fault, "kind", "") == SHORT_WRITE):
            view = view[: max(1, len(view) // 2)]
        opened.is_first_write = False
        if view:
            view = view[: self._disk.room_for(opened.inode, offset, len(view))]
            opened.inode.write(view, offset, self._disk.now())
            self._disk.has_written(opened.inode)
        return len(view)

    def _made_or_found(self, path: str, flags: int, mode: int, start: Inode | None) -> Inode:
        tree = self._disk.tree
        if not flags & os.O_CREAT:
            return tree.find(path, start, follow=not flags & os.O_NOFOLLOW)
        place = tree.place(path, start)
        found = place.inode()
        if place.slash:
            raise error(errno.EISDIR)
        if found is not None and flags & os.O_EXCL:
            raise error(errno.EEXIST)
        if found is not None and found.is_link and not flags & os.O_NOFOLLOW:
            place = tree.creation_place(path, start)
            found = place.inode()
        return found or self._make(place, stat.S_IFREG | mode & 0o7777 & ~self._disk.umask, f"create {path}")

    def _make(self, place: Place, mode: int, words: str) -> Inode:
        self._disk.refuse_if_read_only()
        _refuse_gone(place.folder)
        made = self._disk.new_inode(mode)
        self._disk.change(words, Change(place.folder, place.name, made))
        return made

    def _changeable(self, place: Place) -> Inode:
        """Return the inode of a place whose name may go."""
        self._disk.refuse_if_read_only()
        if (found := place.inode()) is None:
            raise error(errno.ENOENT)
        return found

    def _two_places(self, one: AnyPath, other: AnyPath) -> tuple[Place, Place]:
        here, there = self._disk.tree.place(text_of(one)), self._disk.tree.place(text_of(other))
        if here.is_special or there.is_special:
            raise error(errno.EBUSY)
        return here, there

    def _listed(self, kind: str, path: AnyPath | int) -> tuple[Inode, str, int | None]:
        """Return a folder, what the paths of its entries begin with, and its descriptor if it was named by that."""
        if isinstance(path, int):
            folder = self._of(kind, path)[0].inode
            if folder.entries is None:
                raise error(errno.ENOTDIR, path)
            return folder, "", path
        with self._named(kind, path):
            folder = self._disk.tree.find(text_of(path))
            if folder.entries is None:
                raise error(errno.ENOTDIR)
            return folder, os.path.join(text_of(path), ""), None

    def _meta(self, kind: str, path: AnyPath | int, follow: bool = True) -> Inode:
        """Return the inode whose times or rights are changed now."""
        if isinstance(path, int):
            inode = self._of(kind, path)[0].inode
        else:
            with self._named(kind, path):
                inode = self._disk.tree.find(text_of(path), follow=follow)
                self._disk.refuse_if_read_only()
        inode.changed = self._disk.now()
        return inode


def _refuse_kind(inode: Inode, flags: int) -> None:
    """Raise ``OSError`` for an inode that cannot be opened in this way."""
    if inode.is_link:
        raise error(errno.ENOTDIR if flags & os.O_DIRECTORY else errno.ELOOP)
    if flags & os.O_DIRECTORY and inode.entries is None:
        raise error(errno.ENOTDIR)
    if inode.entries is not None and flags & (WRITES | os.O_CREAT):
        raise error(errno.EISDIR)


def _refuse_gone(folder: Inode) -> None:
    """Nothing can be made in a folder that has no name any more."""
    if not folder.names and folder.parent() is folder and not folder.links():
        raise error(errno.ENOENT)


def _refuse_to_replace(replaced: Inode, moved: Inode, here: Place) -> None:
    if is_within(here.folder, replaced):
        raise error(errno.ENOTEMPTY)
    if moved.entries is not None and replaced.entries is None:
        raise error(errno.ENOTDIR)
    if moved.entries is None and replaced.entries is not None:
        raise error(errno.EISDIR)
    if replaced.entries:
        raise error(errno.ENOTEMPTY)


def _described(entry: Entry) -> FoundEntry:
    try:
        found = entry.stat()
    except FileNotFoundError:  # a link that leads nowhere
        return entry.name, None, None
    return entry.name, found.st_size if stat.S_ISREG(found.st_mode) else None, found.st_mtime_ns
