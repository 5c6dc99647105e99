"""The tree of files and folders that a catalog describes, with what this process has in it before it is published.

A path with a part that begins with a dot is of this process alone: temporary files and folders, whose content is in
memory until they get another name. They cost no request, and nothing is left of them if the process dies.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, Never

from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, FileCatalog, PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS, Threads
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile, new_pack, with_its_end

FILE_ENDINGS: Final = (".parquet", ".csv", ".arrow", ".json")
FOLDER_NAME: Final = re.compile(r"(?:symbol=.+|timeframe=\w+|year=\d+|month=\d+)", re.ASCII)
"""What ends or is named so in the catalog is a file or a folder, respectively: a store has no others. So one question
tells whether something is there, instead of one for each kind, and for each folder above it."""
REMEMBERED_SECONDS: Final = 1.0
"""For so long a folder that was there is taken to be there: whatever reads a file examines each folder above it."""
MOST_REMEMBERED: Final = 4096
LEAF: Final = "month="
"""Below a folder whose name begins so there is little, and one question brings all of it."""


def refuse(code: int) -> Never:
    raise OSError(code, os.strerror(code))


@frozen
class FolderContent:
    """What is in a folder, of one moment, by name."""

    files: Mapping[str, PlacedFile]
    folders: frozenset[str]

    def __iter__(self) -> Iterator[str]:
        yield from self.files
        yield from self.folders


class FileTree:
    """Files by their store paths. Methods raise ``OSError`` as the functions of ``os``, but for names, and
    ``StateError`` and ``StorageError`` if catalog or objects cannot be used. Threads may share it.
    """

    def __init__(
        self,
        catalog: FileCatalog,
        store: ObjectStore,
        new_name: Callable[[], str],
        now_ns: Callable[[], int],
        threads: Threads = REAL_THREADS,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._monotonic, self._seen = monotonic, dict[str, float]()
        self._catalog, self._store, self._new_name, self._now_ns = catalog, store, new_name, now_ns
        self._own, self._made, self._lock = dict[str, PlacedFile](), set[str](), threads.reentrant_lock()

    def find(self, path: str) -> PlacedFile | None:
        """Return the file at a path; None if there is none."""
        return self._own.get(path) if is_own(path) else self._catalog.find(path)

    def is_folder(self, path: str) -> bool:
        if not path:  # that of all areas
            return True
        with self._lock:
            if path in self._made or any(each.startswith(f"{path}/") for each in (*self._own, *self._made)):
                return True
            now = self._monotonic()
            if now < self._seen.get(path, now):
                return True
        if is_own(path) or not self._catalog.has_any(path):
            return False
        with self._lock:
            if len(self._seen) >= MOST_REMEMBERED:
                self._seen.clear()
            self._seen[path] = now + REMEMBERED_SECONDS
        return True

    def found(self, path: str) -> PlacedFile | None:
        """Return the file at a path, None if it is a folder. Raises ``OSError`` if it is neither."""
        if _is_named_as_a_file(path):
            file = self.find(path)
            return refuse(self._why_absent(path)) if file is None else file
        if self.is_folder(path):
            return None
        if _is_named_as_a_folder(path) or (file := self.find(path)) is None:
            return refuse(self._why_absent(path))
        return file

    def _found_for(self, source: str, target: str) -> PlacedFile | None:
        """As ``found``; a missing folder counts before a missing file, also that of the other name."""
        try:
            return self.found(source)
        except FileNotFoundError:
            self.refuse_without_folder(source)
            self.refuse_without_folder(target)
            raise

    def _why_absent(self, path: str) -> int:
        for each in reversed(_above(path)):
            if self.is_folder(each):
                return errno.ENOENT
            if not _is_named_as_a_folder(each) and self.find(each) is not None:
                return errno.ENOTDIR
            if _is_named_as_a_folder(each):
                return errno.ENOENT
        return errno.ENOENT

    def content_of(self, folder: str) -> FolderContent:
        """Return what is in a folder. Raises ``OSError`` if there is none."""
        start = len(folder) + 1
        if not folder:
            return FolderContent({}, frozenset())
        if is_own(folder):
            found, below = list[PlacedFile](), list[str]()
        elif folder.rpartition("/")[2].startswith(LEAF):
            found, below = [*self._catalog.below(folder)], []
        else:
            found, below = [*self._catalog.listed(folder)], [*self._catalog.folders(folder)]
        with self._lock:
            found += [file for path, file in self._own.items() if path.startswith(f"{folder}/")]
            made = [path[start:] for path in self._made if path.startswith(f"{folder}/")]
            is_there = found or below or made or folder in self._made
        if not is_there and not self.is_folder(folder):  # one that has just lost its last file is empty, as on a disk
            refuse(errno.ENOTDIR if self.find(folder) else self._why_absent(folder))
        rests = {file.path[start:]: file for file in found}
        folders = frozenset(rest.partition("/")[0] for rest in (*made, *(rest for rest in rests if "/" in rest)))
        return FolderContent({rest: file for rest, file in rests.items() if "/" not in rest}, folders.union(below))

    def below(self, folder: str) -> list[PlacedFile]:
        """Return all files below a folder, however deep."""
        own = [file for path, file in [*self._own.items()] if path.startswith(f"{folder}/")]
        return own if is_own(folder) else [*self._catalog.below(folder), *own]

    def write(self, path: str, content: bytes, modified_ns: int) -> PlacedFile:
        """Make the content that of a file; its folder exists."""
        file = PlacedFile.inline(path, content, modified_ns)
        return self._published({path: file}, ())[path]

    def append(self, path: str, lines: bytes) -> None:
        """Add lines to a text file that exists, at one moment: others may append to it at the same time."""
        found = self.find(path)
        if found is None:
            refuse(errno.ENOENT)
        if is_own(path):
            self._own[path] = PlacedFile.inline(path, (found.content or b"") + lines, self._now_ns())
        else:
            self._publish((), CatalogChange(appended=[AppendedLines(path, lines, b"", self._now_ns())]))

    def make_inline(self, path: str, content: bytes, modified_ns: int) -> None:
        """Take the content of a file into the catalog, so that lines can be appended to it."""
        self._catalog.change(CatalogChange(placed=[PlacedFile.inline(path, content, modified_ns)]))

    def set_time(self, path: str, modified_ns: int) -> None:
        if not is_own(path):
            self._catalog.change(CatalogChange(times={path: modified_ns}))
        elif path in self._own:
            self._own[path] = evolve(self._own[path], modified_ns=modified_ns)

    def remove(self, path: str) -> None:
        if self.found(path) is None:
            refuse(errno.EISDIR)
        self._published({}, [path])

    def link(self, source: str, target: str) -> None:
        file = self._found_for(source, target)
        if file is None:
            refuse(errno.EPERM)
        self.refuse_without_folder(target)
        if self.find(target) is not None or self.is_folder(target):
            refuse(errno.EEXIST)
        self._published({target: file}, ())

    def move(self, source: str, target: str) -> None:
        file, is_file = self._found_for(source, target), self.find(target) is not None
        self.refuse_without_folder(target)
        is_folder = not is_file and self.is_folder(target)
        if source == target:
            return
        if source.startswith(f"{target}/"):
            refuse(errno.ENOTEMPTY)
        if file is not None:
            if is_folder:
                refuse(errno.EISDIR)
            self._published({target: file}, [source])
            return
        if target.startswith(f"{source}/"):
            refuse(errno.EINVAL)
        if is_file:
            refuse(errno.ENOTDIR)
        if is_folder and [*self.content_of(target)]:
            refuse(errno.ENOTEMPTY)
        files = self.below(source)
        self._published({target + each.path[len(source) :]: each for each in files}, [each.path for each in files])
        self._moved_folders(source, target)

    def exchange(self, one: str, other: str) -> None:
        """Exchange two names, at one moment for all that is in the catalog."""
        moves, names = dict[str, PlacedFile](), ((one, other), (other, one))
        files = [self._found_for(one, other), self.found(other)]
        if any(target.startswith(f"{source}/") for source, target in names):
            refuse(errno.EINVAL)
        for (source, target), file in zip(names, files, strict=True):
            for each in [file] if file else self.below(source):
                moves[target + each.path[len(source) :]] = each
        with self._lock:
            made = {
                target + path[len(source) :]
                for source, target in names
                for path in (source, *self._made)
                if self.is_folder(source) and (path == source or path.startswith(f"{source}/"))
            }
        self._published(moves, [file.path for file in moves.values()])
        with self._lock:
            inside = tuple(f"{name}/" for name in (one, other))
            self._made = {path for path in self._made if not f"{path}/".startswith(inside)} | made
            self._seen.clear()

    def make_folder(self, path: str) -> None:
        if self.find(path) is not None or self.is_folder(path):
            refuse(errno.EEXIST)
        self.refuse_without_folder(path)
        with self._lock:
            self._made.add(path)

    def remove_folder(self, path: str) -> None:
        if self.found(path) is not None:
            refuse(errno.ENOTDIR)
        if [*self.content_of(path)]:
            refuse(errno.ENOTEMPTY)
        with self._lock:
            self._made.discard(path)
            self._seen.pop(path, None)

    def refuse_without_folder(self, path: str) -> None:
        """Refuse a new name whose folder does not exist. An area needs none."""
        above = path.rpartition("/")[0]
        if above and not self.is_folder(above):
            refuse(errno.ENOTDIR if self.find(above) else self._why_absent(path))

    def _published(self, moves: Mapping[str, PlacedFile], gone: Collection[str]) -> Mapping[str, PlacedFile]:
        """Give each file the path that it is named by, and remove those that are gone. Return the files there."""
        shared = {target: file for target, file in moves.items() if not is_own(target)}
        new = [
            NewPackedFile(target, file.content, file.modified_ns)
            for target, file in shared.items()
            if file.content and (is_own(file.path) or file.path == target)
        ]
        packed = {file.path for file in new}
        others = {target: file for target, file in shared.items() if target not in packed}
        change = CatalogChange(
            placed=[file.at(target) for target, file in others.items() if is_own(file.path) or file.path == target],
            second_names={
                file.path: target for target, file in others.items() if not is_own(file.path) and file.path != target
            },
            removed=[each for path in gone if path not in shared and not is_own(path) for each in with_its_end(path)],
        )
        kept = [file.at(target) for target, file in others.items() if not is_own(file.path) and file.path != target]
        placed = self._publish(new, change, kept)
        self._remember({target: file.at(target) for target, file in moves.items() if is_own(target)}, moves, gone)
        return {**{target: file.at(target) for target, file in moves.items()}, **placed}

    def _publish(
        self, files: Collection[NewPackedFile], change: CatalogChange, kept: Sequence[PlacedFile] = ()
    ) -> dict[str, PlacedFile]:
        """Put a pack of the files, and change the catalog. What only places what has bytes needs no pack."""
        if not (files or change.second_names or change.appended or change.removed):
            if not change.is_empty:
                self._catalog.change(change)
            return {}
        inline = evolve(change, placed=[file for file in change.placed if file.content is not None])
        pack = new_pack([*files], inline, self._now_ns(), kept=kept)
        key = pack.key(self._new_name())
        if not self._store.put_new(key, pack.content):
            raise StorageError(f"another object has the new name {key}; nothing was changed, try again")
        whole = pack.index.change_of(key)
        self._catalog.change(
            evolve(whole, placed=[*whole.placed, *(file for file in change.placed if file.content is None)])
        )
        return {file.path: file for file in whole.placed}

    def _remember(self, own: Mapping[str, PlacedFile], moves: Collection[str], gone: Collection[str]) -> None:
        """Folders stay when their last file goes, and need not be remembered while they have one."""
        with self._lock:
            for path in gone:
                self._own.pop(path, None)
                self._made.update(_above(path))
            self._own.update(own)
            for path in moves:
                self._made.difference_update(_above(path))

    def _moved_folders(self, source: str, target: str) -> None:
        with self._lock:
            inside = {path for path in self._made if path == source or path.startswith(f"{source}/")}
            self._made -= inside
            self._seen.clear()
            self._made |= {target + path[len(source) :] for path in inside} | {target}


def is_own(path: str) -> bool:
    """Return whether a path is of this process alone."""
    return path.startswith(".") or "/." in path


def _is_named_as_a_file(path: str) -> bool:
    return path.endswith(FILE_ENDINGS) and not is_own(path)


def _is_named_as_a_folder(path: str) -> bool:
    name = path.rpartition("/")[2]
    return not name.endswith(FILE_ENDINGS) and FOLDER_NAME.fullmatch(name) is not None and not is_own(path)


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
