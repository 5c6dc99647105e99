"""Inodes of the modelled disk: what they have now, what of it is durable, and how a path leads to one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

LONGEST_NAME: Final = 255
MOST_LINKS_ON_A_WAY: Final = 40
DEVICE: Final = 77
BLOCK: Final = 512
NS: Final = 1_000_000_000


def error(code: int, path: object = None, other: object = None) -> OSError:
    """Return the error that a function of ``os`` would raise."""
    if path is None:
        return OSError(code, os.strerror(code))
    return (
        OSError(code, os.strerror(code), path) if other is None else OSError(code, os.strerror(code), path, None, other)
    )


class Kept(NamedTuple):
    """What a power loss cannot take from a file: as it was when it was last synced."""

    content: bytes
    mode: int
    user: int
    group: int
    accessed: int
    modified: int


class Inode:
    """A file, a folder or a symbolic link.

    ``entries`` are those of a folder, None of others; ``target`` is that of a link. ``dirty`` are the parts that were
    written since the last sync, each from a byte to another one, exclusive. ``backing`` is the real file of a database,
    which has the content then. ``durable`` and ``unsynced`` are of a folder: the entries that are safe, and what was
    done to them since. ``last_durable`` has the number of the last safe operation on a name.
    """

    __slots__ = (
        *("accessed", "backing", "changed", "content", "dirty", "durable", "durable_place", "entries", "group", "kept"),
        *("last_durable", "mode", "modified", "names", "number", "opened", "target", "unsynced", "user"),
    )

    def __init__(self, number: int, mode: int, now: int) -> None:
        self.number, self.mode, self.user, self.group = number, mode, os.geteuid(), os.getegid()
        self.accessed = self.modified = self.changed = now
        self.content, self.target, self.opened = bytearray(), "", 0
        self.backing: Path | None = None
        self.dirty: list[tuple[int, int]] = []
        self.names: dict[tuple[Inode, str], None] = {}
        self.entries: dict[str, Inode] | None = {} if stat.S_ISDIR(mode) else None
        self.durable: dict[str, Inode] = {}
        self.last_durable: dict[str, int] = {}
        self.durable_place: tuple[Inode, str] | None = None
        self.unsynced: dict[int, Operation] = {}
        self.kept = Kept(b"", mode, self.user, self.group, now, now)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def size(self) -> int:
        if self.backing is not None:
            return os.stat(self.backing).st_size if self.backing.exists() else 0
        return len(self.target) if self.is_link else len(self.content)

    def bytes(self) -> bytes:
        if self.backing is not None:
            return self.backing.read_bytes() if self.backing.exists() else b""
        return bytes(self.content)

    def parent(self) -> Inode:
        """Return the folder that has this folder; the root, and a folder that is gone, have themselves."""
        return next((folder for folder, _ in self.names), self)

    def paths(self) -> Iterator[str]:
        """Yield all paths of it; none if no folder has it any more."""
        for folder, name in self.names:
            if (above := folder.path()) is not None:
                yield f"{above}/{name}"

    def path(self) -> str | None:
        """Return its first path; None if no folder has it any more. That of the root is empty."""
        return "" if self.number == ROOT else next(self.paths(), None)

    def write(self, data: memoryview, offset: int, now: int) -> None:
        lacking = offset - len(self.content)
        first, end = min(offset, len(self.content)), offset + len(data)
        if lacking > 0:
            self.content += bytes(lacking)
        self.content[offset:end] = data
        if self.dirty and self.dirty[-1][1] == first:
            first, _ = self.dirty.pop()
        self.dirty.append((first, end))
        self.modified = self.changed = now

    def cut(self, now: int) -> None:
        """Remove the whole content."""
        self.dirty = [(0, max(len(self.content), len(self.kept.content)))]
        self.content.clear()
        self.modified = self.changed = now

    def now_kept(self) -> Kept:
        return Kept(bytes(self.content), self.mode, self.user, self.group, self.accessed, self.modified)

    def is_kept(self) -> bool:
        """Return whether nothing of it is unsynced."""
        meta = (self.mode, self.user, self.group, self.accessed, self.modified)
        return not self.dirty and meta == self.kept[1:]

    def keep(self) -> None:
        self.kept, self.dirty = self.now_kept(), []

    def links(self) -> int:
        """Return how many names it has. A folder is named by itself and by each folder in it too."""
        if self.entries is None:
            return len(self.names)
        if not self.names and self.number != ROOT:
            return 0
        return 2 + sum(each.entries is not None for each in self.entries.values())

    def status(self) -> os.stat_result:
        size, a, m, c = self.size, self.accessed, self.modified, self.changed
        return os.stat_result(
            (self.mode, self.number, DEVICE, self.links(), self.user, self.group, size, a // NS, m // NS, c // NS),
            {
                "st_atime": a / NS,
                "st_mtime": m / NS,
                "st_ctime": c / NS,
                "st_atime_ns": a,
                "st_mtime_ns": m,
                "st_ctime_ns": c,
                "st_blksize": 4096,
                "st_blocks": -(-size // BLOCK),
                "st_rdev": 0,
            },
        )


ROOT: Final = 2
"""The number of the root's inode, as in ext4."""


class Change(NamedTuple):
    """One entry of a folder becomes ``new``; None: it goes."""

    folder: Inode
    name: str
    new: Inode | None


class Operation:
    """What one call has done to the entries of folders. A power loss keeps all of it, or nothing of it."""

    __slots__ = ("changes", "number", "words")

    def __init__(self, number: int, words: str, changes: tuple[Change, ...]) -> None:
        self.number, self.words, self.changes = number, words, changes

    def make_durable(self) -> None:
        """Make it safe, but for the names of which a later operation is safe already: one that went along with the sync
        of another folder.
        """
        for folder, name, new in self.changes:
            if folder.last_durable.get(name, 0) > self.number:
                continue
            folder.last_durable[name] = self.number
            if new is None:
                folder.durable.pop(name, None)
            else:
                _leave_former_place(new)
                folder.durable[name] = new
                new.durable_place = (folder, name) if new.entries is not None else None


def _leave_former_place(inode: Inode) -> None:
    """A folder has one place, also if the operation that made it leave the former one was lost."""
    if inode.durable_place is not None:
        folder, name = inode.durable_place
        if folder.durable.get(name) is inode:
            del folder.durable[name]


class Place(NamedTuple):
    """Where a path leads: a folder and the last name, "" for the root. ``slash`` tells whether it ends with one."""

    folder: Inode
    name: str
    slash: bool

    @property
    def is_special(self) -> bool:
        return self.name in ("", ".", "..")

    def inode(self) -> Inode | None:
        """Return what has this name; a last link is not followed."""
        return child(self.folder, self.name)


def child(folder: Inode, name: str) -> Inode | None:
    if name in ("", "."):
        return folder
    if name == "..":
        return folder.parent()
    if len(name) * 4 > LONGEST_NAME and len(os.fsencode(name)) > LONGEST_NAME:
        raise error(errno.ENAMETOOLONG)
    assert folder.entries is not None
    return folder.entries.get(name)


class Tree:
    """Finds inodes by their paths. Raises ``OSError`` without a file name."""

    def __init__(self, now: int) -> None:
        self.root = self.here = Inode(ROOT, stat.S_IFDIR | 0o755, now)
        """``here`` is the folder in which relative paths begin."""

    def place(self, path: str, start: Inode | None = None, followed: int = 0) -> Place:
        """Return the place of a path. Links on the way are followed, the last one is not."""
        if not path:
            raise error(errno.ENOENT)
        folder = self.root if path.startswith("/") else start or self.here
        parts = [part for part in path.split("/") if part]
        for part in parts[:-1]:
            found = (folder.entries or {}).get(part) or child(_searched(folder), part)
            if found is None:
                raise error(errno.ENOENT)
            folder = self.find(found.target, folder, followed + 1) if found.target else found
        return Place(_searched(folder), parts[-1] if parts else "", path.endswith("/"))

    def find(self, path: str, start: Inode | None = None, followed: int = 0, *, follow: bool = True) -> Inode:
        """Return the inode of a path. Raises ``OSError`` if there is none."""
        if followed > MOST_LINKS_ON_A_WAY:
            raise error(errno.ELOOP)
        place = self.place(path, start, followed)
        found = place.inode()
        if found is None:
            raise error(errno.ENOENT)
        if found.is_link and (follow or place.slash):
            found = self.find(found.target, place.folder, followed + 1)
        return _searched(found) if place.slash else found

    def creation_place(self, path: str, start: Inode | None, followed: int = 0) -> Place:
        """Return where a file of this path is or would be made: links that lead nowhere are followed too."""
        if followed > MOST_LINKS_ON_A_WAY:
            raise error(errno.ELOOP)
        place = self.place(path, start, followed)
        found = place.inode()
        if found is not None and found.is_link:
            return self.creation_place(found.target, place.folder, followed + 1)
        return place


def _searched(inode: Inode) -> Inode:
    if inode.entries is None:
        raise error(errno.ENOTDIR)
    return inode


def is_within(inode: Inode, folder: Inode) -> bool:
    """Return whether it is the folder, or in it however deep."""
    if folder.entries is None:
        return inode is folder
    while inode is not folder:
        above = inode.parent()
        if above is inode:
            return False
        inode = above
    return True
