"""All files of a store, as they are read from one place and written to another: folders of a disk, or a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, make_folders, read_bytes, walk
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import all_files
from marketpipe.storage.infrastructure.objects.object_ranges import ranges_of
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore, packs_in
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile, new_pack
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles

MOST_BYTES: Final = 64_000_000
LINES: Final = ".csv"
"""Files that grow by lines are in the catalog itself."""
NAME_DIGITS: Final = 32
"""As many hexadecimal digits as the names of other objects have."""
ONLY_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
Files = Iterable[NewPackedFile]
OnWritten = Callable[[], None]
"""Called when what was read so far is written."""


def files_on_disk(disk: Disk, areas: Mapping[str, str]) -> tuple[int, Iterator[NewPackedFile]]:
    """Return how many files the areas, given by their paths, have, and what yields them, but for temporary ones.

    Raises ``StorageError``, and so does the iterator.
    """
    return sum(1 for _ in _paths(disk, areas)), _read_from_disk(disk, areas)


def _read_from_disk(disk: Disk, areas: Mapping[str, str]) -> Iterator[NewPackedFile]:
    for place, path in _paths(disk, areas):
        try:
            modified_ns, content = disk.stat(path).st_mtime_ns, read_bytes(disk, path)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}; see 'marketpipe verify'") from error
        yield NewPackedFile(areas[place] + path[len(place) :], content, modified_ns)


def _paths(disk: Disk, areas: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the place of an area and the path of a file of it, in the same order each time."""
    for place in areas:
        for folder, folders, names in walk(disk, place, _refuse(place)):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from ((place, f"{folder}/{name}") for name in sorted(names) if not name.startswith("."))


def has_files(disk: Disk, areas: Mapping[str, str]) -> bool:
    return any(names for place in areas for _, _, names in walk(disk, place, _refuse(place)))


def is_created(disk: Disk, path: Path) -> bool:
    """Create an empty file; return False if there is one already, also if another process was faster."""
    try:
        make_folders(disk, path.parent)
        disk.close(disk.open(path, ONLY_NEW))
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"cannot write {error.filename or path}: {error.strerror}; nothing was copied") from error
    return True


def _refuse(place: str) -> Callable[[OSError], object]:
    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise StorageError(f"{error.filename or place} cannot be listed: {error.strerror}") from error

    return refused


def files_of_a_bucket(
    catalog: FileCatalog, store: ObjectStore, areas: Mapping[str, str]
) -> tuple[int, Iterator[NewPackedFile]]:
    """Return how many files the areas have, and what yields them.

    Those that are close to one another in an object come by one request.
    """
    files = [*chain.from_iterable(all_files(catalog, area, 1) for area in areas.values())]
    return len(files), _read_from_objects(store, files)


def _read_from_objects(store: ObjectStore, files: Sequence[PlacedFile]) -> Iterator[NewPackedFile]:
    yield from (NewPackedFile(f.path, f.content or b"", f.modified_ns) for f in files if not f.object or not f.size)
    for together in ranges_of(file for file in files if file.object and file.size):
        for file, content in together.read(store):
            yield NewPackedFile(file.path, content, file.modified_ns)


@frozen
class Written:
    """Where files are, of a target in a bucket, and how many a copy that was killed had written already."""

    placed: Sequence[PlacedFile]
    already_there: int


@frozen
class IntoFolders:
    """Writes files below the areas of a store on a disk. What is there already, from a copy that was killed, stays."""

    files: PublishedFiles
    disk: Disk
    areas: Mapping[str, str]

    def write(self, files: Files, on_written: OnWritten = lambda: None) -> Written:
        places, already_there = {area: place for place, area in self.areas.items()}, 0
        for some in _together(files, on_written):
            with self.files.group() as group:
                for file in some:
                    area, _, rest = file.path.partition("/")
                    path = Path(places[area]) / rest
                    if self._is_there(path, file):
                        already_there += 1
                    else:
                        group.add(path, file.content, file.modified_ns)
        return Written((), already_there)

    def _is_there(self, path: Path, file: NewPackedFile) -> bool:
        try:
            found = self.disk.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (found.st_size, found.st_mtime_ns) == (len(file.content), file.modified_ns)


@frozen
class IntoABucket:
    """Puts files as packs, and returns where each is. No catalog has them yet.

    A pack has the digest of its bytes as its name. So a copy that is begun again, of the same files with the same
    ``moment_ns``, makes packs of the same names, and puts none of those that are there already.
    """

    store: ObjectStore
    moment_ns: int

    def write(self, files: Files, on_written: OnWritten = lambda: None) -> Written:
        there = {pack.key: pack.size for pack in packs_in(self.store)}
        placed, already_there = list[PlacedFile](), 0
        for some in _together(files, on_written):
            lines = [file for file in some if file.path.endswith(LINES) or not file.content]
            inline = [PlacedFile.inline(file.path, file.content, file.modified_ns) for file in lines]
            others = [file for file in some if file.content and not file.path.endswith(LINES)]
            pack = new_pack(others, CatalogChange(inline), self.moment_ns)
            key = pack.key(sha256(pack.content).hexdigest()[:NAME_DIGITS])
            if there.get(key) == len(pack.content):
                already_there += len(some)
            elif not self.store.put_new(key, pack.content):
                raise StorageError(f"{key} has other bytes than a copy has put there; name another place")
            placed += pack.index.change_of(key).placed
        return Written(placed, already_there)


def _together(files: Files, on_written: OnWritten) -> Iterator[list[NewPackedFile]]:
    """Yield groups; each is written when the next one is wanted."""
    some, size = list[NewPackedFile](), 0
    for file in files:
        some.append(file)
        size += len(file.content)
        if size >= MOST_BYTES:
            yield some
            on_written()
            some, size = [], 0
    if some:
        yield some
        on_written()
