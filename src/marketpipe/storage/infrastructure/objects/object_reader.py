"""Reading files out of objects with few requests, and keeping what was read for a while: no object ever changes.

Files that are read one after the other, such as the days of a year, often lie side by side in a few objects. So the
second file that is read below the folder of a year brings those that follow it in its object, with the same request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from marketpipe.shared_kernel.domain.errors import ObjectLostError
from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS, Threads
from marketpipe.storage.infrastructure.objects.object_ranges import read_together
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore

KEPT_BYTES: Final = 64 << 20
AHEAD_BYTES: Final = 8 << 20
"""So much is read with one request at most, unless one file is larger."""
GAP_BYTES: Final = 64 << 10
"""So much between two files is read and thrown away rather than asked for the second one by itself."""
FOLDERS_KEPT: Final = 4096
"""Folders of which it is known that a file was read: the next one there brings others."""
LOCKS: Final = 16

Place = tuple[str, int, int]
"""The object, the offset and the size of a file."""


class ObjectReader:
    """Reads files. Threads may share it: what one has asked for, others wait for."""

    def __init__(
        self,
        store: ObjectStore,
        below: Callable[[str], Iterable[PlacedFile]],
        threads: Threads = REAL_THREADS,
        kept_bytes: int = KEPT_BYTES,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        """``below`` returns the files of a folder, however deep; see ``FileCatalog.below``."""
        self._store, self._below, self._ahead = store, below, ahead_bytes
        self._kept, self._size, self._most = OrderedDict[Place, bytes](), 0, kept_bytes
        self._folders = OrderedDict[str, None]()
        self._threads = threads
        self._guard, self._locks = threads.lock(), [threads.lock() for _ in range(LOCKS)]

    def read(self, file: PlacedFile) -> bytes:
        """Return the content of a file. Raises ``StorageError``, and ``ObjectLostError`` of this file alone."""
        if file.content is not None:
            return file.content
        place = _place_of(file)
        found = self._known(place)
        if found is None:
            # One request at a time for an object: several threads often read files that one request brings.
            with self._locks[hash(file.object) % LOCKS]:
                found = self._known(place)
                if found is None:
                    found = self._fetched(file)
        return found

    def has(self, file: PlacedFile) -> bool:
        """Return whether the content of a file is known without a request."""
        return file.content is not None or self._is_kept(_place_of(file))

    def bring(self, files: Iterable[PlacedFile]) -> None:
        """Read files that are going to be read, in few requests. More than are kept are read for nothing."""
        wanted = [file for file in files if file.size and not self.has(file)]
        for file, content in read_together(wanted, self._store, self._threads.executor, "marketpipe-bring"):
            if len(content) == file.size:
                self._keep(_place_of(file), content)

    def _fetched(self, file: PlacedFile) -> bytes:
        wanted = self._with_those_beside_it(file)
        first, end = wanted[0].offset, max(each.offset + each.size for each in wanted)
        content = self._store.get(file.object, first, end - first)
        for each in wanted:
            if each.offset + each.size <= first + len(content):
                self._keep(_place_of(each), content[each.offset - first : each.offset - first + each.size])
        found = content[file.offset - first : file.offset - first + file.size]
        if len(found) < file.size:
            raise ObjectLostError(f"{file.object} ends before the end of {file.path}; restore the object from a backup")
        return found

    def _with_those_beside_it(self, file: PlacedFile) -> Sequence[PlacedFile]:
        """Return the file, and those that are read with it, ascending by where they are."""
        folder = _folder_of_year(file.path)
        if not self._was_read_from(folder):
            return [file]
        in_object = {_place_of(each): each for each in self._below(folder) if each.object == file.object}
        others = [each for place, each in sorted(in_object.items()) if each.size and not self._is_kept(place)]
        wanted, end = [file], file.offset + file.size
        for each in others:
            if file.offset + file.size <= each.offset <= end + GAP_BYTES and self._fits(wanted[0], each):
                wanted.append(each)
                end = each.offset + each.size
        for each in reversed(others):
            gap = wanted[0].offset - each.offset - each.size
            if 0 <= gap <= GAP_BYTES and self._fits(each, wanted[-1]):
                wanted.insert(0, each)
        return wanted

    def _fits(self, first: PlacedFile, last: PlacedFile) -> bool:
        return last.offset + last.size - first.offset <= self._ahead

    def _is_kept(self, place: Place) -> bool:
        with self._guard:
            return place in self._kept

    def _was_read_from(self, folder: str) -> bool:
        with self._guard:
            was_read = folder in self._folders
            self._folders[folder] = None
            self._folders.move_to_end(folder)
            if len(self._folders) > FOLDERS_KEPT:
                self._folders.popitem(last=False)
            return was_read

    def _known(self, place: Place) -> bytes | None:
        with self._guard:
            found = self._kept.get(place)
            if found is not None:
                self._kept.move_to_end(place)
            return found

    def _keep(self, place: Place, content: bytes) -> None:
        with self._guard:
            if place not in self._kept and len(content) <= self._most:
                self._kept[place] = content
                self._size += len(content)
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)


def _place_of(file: PlacedFile) -> Place:
    return file.object, file.offset, file.size


def _folder_of_year(path: str) -> str:
    """Return the folder of the year that a file is below, or its own folder."""
    parts = path.split("/")
    year = next((number for number, part in enumerate(parts[:-1]) if part.startswith("year=")), len(parts) - 2)
    return "/".join(parts[: year + 1])
