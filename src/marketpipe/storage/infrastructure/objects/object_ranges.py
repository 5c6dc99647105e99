"""Reading many files of few objects in few requests: files that lie close to one another come together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from operator import attrgetter
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore

LARGEST_GAP: Final = 65_536
"""Bytes between two files that are read for nothing rather than in two requests."""
LARGEST_RANGE: Final = 16 * 2**20
"""Bytes that are read together, unless one file has more."""
READING_THREADS: Final = 8


@frozen
class ObjectRange:
    """Bytes of an object, and the files that are in them, ascending by their places."""

    object: str
    offset: int
    size: int
    files: tuple[PlacedFile, ...]

    def read(self, store: ObjectStore) -> Iterator[tuple[PlacedFile, bytes]]:
        """Yield each file with its content, by one request. Raises ``StorageError``."""
        content = memoryview(store.get(self.object, self.offset, self.size))
        for file in self.files:
            start = file.offset - self.offset
            yield file, bytes(content[start : start + file.size])


def ranges_of(files: Iterable[PlacedFile]) -> list[ObjectRange]:
    """Return the ranges that have all of these files, each of which is in an object and not empty."""
    found = list[ObjectRange]()
    for file in sorted(files, key=attrgetter("object", "offset")):
        last = found[-1] if found else None
        if last is not None and last.object == file.object and _is_close(last, file):
            size = max(last.size, file.offset + file.size - last.offset)
            found[-1] = ObjectRange(last.object, last.offset, size, (*last.files, file))
        else:
            found.append(ObjectRange(file.object, file.offset, file.size, (file,)))
    return found


def read_together(
    files: Iterable[PlacedFile], store: ObjectStore, new_executor: Callable[[int, str], Executor], name: str
) -> Iterator[tuple[PlacedFile, bytes]]:
    """Yield files with their contents, read in few requests that threads of this name send; see ``ranges_of``.

    What lies behind the end of an object is absent: a content may be shorter than its file. Raises ``StorageError``.
    """
    ranges = ranges_of(files)
    if not ranges:
        return
    with new_executor(min(READING_THREADS, len(ranges)), name) as executor:
        for contents in executor.map(lambda each: [*each.read(store)], ranges):
            yield from contents


def _is_close(before: ObjectRange, file: PlacedFile) -> bool:
    is_near = file.offset <= before.offset + before.size + LARGEST_GAP
    return is_near and file.offset + file.size - before.offset <= LARGEST_RANGE
