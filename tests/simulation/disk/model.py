"""``ModelledDisk``: a file system in memory that knows what of it a power loss would leave."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from tests.simulation.disk.descriptors import Caller, Opened, Outside
from tests.simulation.disk.inodes import Change, Inode, Operation, Tree, error
from tests.simulation.disk.power import Loss
from tests.simulation.disk.process_disk import ProcessDisk
from tests.simulation.disk.watching import Seen, Watching, files_in
from tests.simulation.traits import DiskTraits

PLACE: Final = "/proc/world"
"""The folder that a new disk has."""
UMASK: Final = 0o022


class ModelledDisk:
    """One disk of one machine. ``of`` gives each process its calls.

    ``space`` is how many bytes more it can have, ``inodes`` how many files and folders: None for no limit, 0 for a full
    disk. ``read_only`` refuses everything that changes it. ``attributes`` are the extended ones, None where there are
    none; no power loss takes them.
    """

    def __init__(self, traits: DiskTraits, now_ns: Callable[[], int], seed: str) -> None:
        self.traits, self._now_ns, self._seed, self.umask = traits, now_ns, seed, UMASK
        self.space: int | None = None
        self.inodes: int | None = None
        self.read_only = False
        self.attributes: dict[Inode, dict[str, bytes]] | None = None
        self.tree = Tree(self.now())
        self._last_number, self._last_operation = self.tree.root.number, 0
        self._unsynced: dict[int, Operation] = {}
        self._watching = Watching()
        self._disks: dict[Caller, ProcessDisk] = {}
        self.locks: dict[Inode, dict[Opened, int]] = {}
        self.outside = ProcessDisk(self, Outside())
        """For whoever is no process of the product: no call is counted."""
        folder = self.tree.root
        for name in PLACE.strip("/").split("/"):
            made = self.new_inode(stat.S_IFDIR | 0o755)
            self.change("make", Change(folder, name, made))
            self.sync(folder)
            folder = made
        self.tree.here = folder

    def of(self, process: Caller) -> ProcessDisk:
        """Return the calls of a process, with descriptors and locks of its own. Each begins with ``process.call``."""
        if process not in self._disks:
            self._disks[process] = ProcessDisk(self, process)
        return self._disks[process]

    def end(self, process: Caller) -> None:
        """Close the descriptors of a process and release its locks, as the system does."""
        if process in self._disks:
            self._disks.pop(process).close_all()

    def files(self, below: str = "/") -> Mapping[str, bytes]:
        """Return all files below a folder as readers see them now, by path. No call is counted."""
        found = self.inode(below)
        return {path: inode.bytes() for path, inode in files_in(found, below.rstrip("/"))} if found else {}

    def inode(self, path: str) -> Inode | None:
        """Return the inode of a path, None if there is none. No call is counted."""
        try:
            return self.tree.find(path)
        except OSError:
            return None

    def watch(self, seen: Seen) -> None:
        """Call this for each name of a file: that "appears" or "changes", with its content; that "goes", with None."""
        self._watching.add(seen)

    def rot(self, path: str, bit: int) -> None:
        """Flip one bit of a file, as damage does: for ever, and without a change of its times."""
        inode = self.tree.find(path)
        if not inode.content:
            return
        at, mask = bit // 8 % len(inode.content), 1 << bit % 8
        inode.content[at] ^= mask
        kept = bytearray(inode.kept.content)
        if at < len(kept) and not inode.dirty:
            kept[at] ^= mask
            inode.kept = inode.kept._replace(content=bytes(kept))
        self.has_written(inode)

    def link_to(self, path: str, target: str) -> None:
        """Make a symbolic link, as a person may do who is no process of the product."""
        place = self.tree.place(path)
        if place.inode() is not None:
            raise error(errno.EEXIST, path)
        made = self.new_inode(stat.S_IFLNK | 0o777)
        made.target = target
        self.change("link", Change(place.folder, place.name, made))

    def pipe_at(self, path: str) -> None:
        """Make a named pipe to which nobody writes."""
        place = self.tree.place(path)
        self.change("mkfifo", Change(place.folder, place.name, self.new_inode(stat.S_IFIFO | 0o644)))

    def restore_from_copy(self) -> None:
        """Replace all files by copies: with other numbers, and with the time of now if the disk keeps no times."""
        for inode in self._all():
            self._last_number += 1
            if inode is not self.tree.root:
                inode.number = self._last_number
            inode.changed = self.now()
            if not self.traits.step_ns:
                inode.modified = self.now()
        self.sync_all()

    def lose_power(self, draw: Random) -> list[str]:
        """Lose what is not synced, or some of it. Return what was lost, in words. All processes have to end first."""
        before = self.files() if self._watching else {}
        used = self._used()
        for process in list(self._disks):
            self.end(process)
        self.outside.close_all()
        lost = Loss(self.tree.root, self.traits.ordered, draw).happens(list(self._unsynced.values()))
        self._unsynced.clear()
        self._count_freed(used)
        self._watching.compare(before, self.files() if self._watching else {})
        return lost

    def sync_all(self) -> None:
        """Make everything durable, as an orderly end of the system does."""
        for operation in list(self._unsynced.values()):
            self._make_durable(operation)
        for inode in self._all():
            inode.keep()

    def unsynced(self) -> list[str]:
        """Return what a power loss could take, in words."""
        operations = [operation.words for operation in self._unsynced.values()]
        return operations + [
            f"content of {path}" for path, inode in files_in(self.tree.root, "") if not inode.is_kept()
        ]

    # What follows is for ``ProcessDisk``.

    def now(self) -> int:
        """Return the time that this disk gives to what is changed now."""
        return self.cut(self._now_ns())

    def cut(self, time_ns: int) -> int:
        step = self.traits.step_ns or 1
        return time_ns // step * step

    def refuse_if_read_only(self) -> None:
        if self.read_only:
            raise error(errno.EROFS)

    def new_inode(self, mode: int) -> Inode:
        if self.inodes is not None:
            if self.inodes <= 0:
                raise error(errno.ENOSPC)
            self.inodes -= 1
        self._last_number += 1
        return Inode(self._last_number, mode, self.now())

    def room_for(self, inode: Inode, offset: int, size: int) -> int:
        """Take the space for a write. Return how much of it can be written; raise ``OSError`` if nothing can."""
        grows = max(0, offset + size - len(inode.content))
        if self.space is None or not grows:
            return size
        fits = min(grows, max(0, self.space))
        if size - grows + fits <= 0:
            raise error(errno.ENOSPC)
        self.space -= fits
        return size - grows + fits

    def release(self, inode: Inode) -> None:
        """Free the space of an inode that has neither a name nor a descriptor any more."""
        if not inode.names and not inode.opened:
            self.locks.pop(inode, None)
            self.space = None if self.space is None else self.space + len(inode.content)
            self.inodes = None if self.inodes is None else self.inodes + 1

    def cut_file(self, inode: Inode) -> None:
        if self.space is not None:
            self.space += len(inode.content)
        inode.cut(self.now())
        self.has_written(inode)

    def change(self, words: str, *changes: Change) -> None:
        """Change entries of folders in one step, which one power loss keeps or loses."""
        now, replaced = self.now(), list[Inode]()
        before = self._watching.names_of(changes) if self._watching else {}
        for folder, name, new in changes:
            assert folder.entries is not None
            if (old := folder.entries.pop(name, None)) is not None:
                del old.names[folder, name]
                old.changed = now
                replaced.append(old)
            if new is not None:
                folder.entries[name] = new
                new.names[folder, name] = None
                new.changed = now
            folder.modified = folder.changed = now
        self._remember(words, changes)
        for old in replaced:
            self.release(old)
        if self._watching:
            self._watching.names_changed(before, changes)

    def sync(self, inode: Inode) -> None:
        """Make the content of a file durable, or the entries of a folder. Of both: mode and times."""
        inode.keep()
        if inode.unsynced:
            last = max(inode.unsynced)
            earlier = self._unsynced if self.traits.ordered else inode.unsynced
            for operation in [each for number, each in earlier.items() if number <= last]:
                self._make_durable(operation)

    def has_written(self, inode: Inode) -> None:
        if self._watching:
            self._watching.content_changed(inode)

    def in_order(self, folder: Inode) -> list[tuple[str, Inode]]:
        """Return the entries of a folder in the order in which this disk lists them."""
        entries = sorted((folder.entries or {}).items())
        if self.traits.listing == "reversed":
            entries.reverse()
        if self.traits.listing == "shuffled":
            Random(f"{self._seed}/{folder.number}/{len(entries)}").shuffle(entries)
        return entries

    def _remember(self, words: str, changes: tuple[Change, ...]) -> None:
        self._last_operation += 1
        operation = Operation(self._last_operation, words, changes)
        self._unsynced[operation.number] = operation
        for change in changes:
            change.folder.unsynced[operation.number] = operation

    def _make_durable(self, operation: Operation) -> None:
        operation.make_durable()
        del self._unsynced[operation.number]
        for change in operation.changes:
            change.folder.unsynced.pop(operation.number, None)

    def _all(self) -> Iterator[Inode]:
        """Yield each inode that has a name, once."""
        seen, left = {self.tree.root}, [self.tree.root]
        while left:
            yield (inode := left.pop())
            for found in (inode.entries or {}).values():
                if found not in seen:
                    seen.add(found)
                    left.append(found)

    def _used(self) -> tuple[int, int]:
        found = list(self._all())
        return sum(len(inode.content) for inode in found), len(found)

    def _count_freed(self, used: tuple[int, int]) -> None:
        now = self._used()
        self.space = None if self.space is None else self.space + used[0] - now[0]
        self.inodes = None if self.inodes is None else self.inodes + used[1] - now[1]
