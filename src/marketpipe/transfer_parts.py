"""Both ends of a copy of a store: a part of the composition root, over ``place_parts``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from marketpipe.config import is_on_disk, url_of
from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ObjectLostError, StoreBusyError

from . import place_parts

if TYPE_CHECKING:
    from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
    from marketpipe.storage.infrastructure.bucket_upkeep.file_transfer import OnWritten, Written
    from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
    from marketpipe.storage.infrastructure.objects.packs import NewPackedFile
    from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

MARK_OBJECT, MARK_FILE = "copying/source", ".copied-from"
"""What names the source in a target that is not whole yet."""
OnFiles = Callable[[int, int], None]
"""Called with the number of files that are done, and of all."""
CHANGED: Final = "the store was changed while it was copied: run the same command again when nothing writes to it"


@frozen
class _Bucket:
    """A target in a bucket. The objects are put as they are: a state that has none of them yet is not asked."""

    parts: Parts

    @property
    def objects(self) -> ObjectStore:
        return place_parts.object_store(self.parts).store

    def mark(self) -> str | None:
        try:
            return self._marked()[0]
        except ObjectLostError:
            return None

    def _marked(self) -> tuple[str, int]:
        """Return the name of the source, and when its copy was first begun, in nanoseconds since 1970."""
        name, _, moment_ns = self.objects.get(MARK_OBJECT).decode().rpartition("\n")
        return name, int(moment_ns)

    def set_mark(self, source: str) -> bool:
        place_parts.try_bucket(self.parts)
        return self.objects.put_new(MARK_OBJECT, f"{source}\n{place_parts.now_ns(self.parts)}".encode())

    def remove_mark(self) -> None:
        self.objects.delete([MARK_OBJECT])

    def is_empty(self) -> bool:
        return next(iter(self.objects.listed()), None) is None

    def write(self, files: Iterator[NewPackedFile], on_written: OnWritten) -> Written:
        from marketpipe.storage.infrastructure.bucket_upkeep.file_transfer import IntoABucket

        return IntoABucket(self.objects, self._marked()[1]).write(files, on_written)


@frozen
class _Folders:
    """A target on a disk."""

    parts: Parts

    @property
    def _mark(self) -> Path:
        return self.parts.config.output_path / MARK_FILE

    def mark(self) -> str | None:
        from marketpipe.shared_kernel.infrastructure.machine.disk import is_file, read_text

        disk = self.parts.machine.disk
        return read_text(disk, self._mark) if is_file(disk, self._mark) else None

    def set_mark(self, source: str) -> bool:
        from marketpipe.storage.infrastructure.bucket_upkeep.file_transfer import is_created

        if not is_created(self.parts.machine.disk, self._mark):
            return False
        self._files().publish({self._mark: source.encode()})
        return True

    def remove_mark(self) -> None:
        self._files().remove(self._mark)

    def is_empty(self) -> bool:
        from marketpipe.storage.infrastructure.bucket_upkeep.file_transfer import has_files

        return not has_files(self.parts.machine.disk, place_parts.areas(self.parts))

    def write(self, files: Iterator[NewPackedFile], on_written: OnWritten) -> Written:
        from marketpipe.storage.infrastructure.bucket_upkeep.file_transfer import IntoFolders

        folders = IntoFolders(self._files(), self.parts.machine.disk, place_parts.areas(self.parts))
        return folders.write(files, on_written)

    def _files(self) -> DurableFiles:
        from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

        return self.parts.closing(DurableFiles(self.parts.syncing, machine=self.parts.machine))


def refuse_part_of_a_copy(parts: Parts) -> None:
    """Raise ``ConfigurationError`` if a copy into this store has not ended: a part of a store is not made a store."""
    is_local = is_on_disk(parts.config.output_path)
    source = _Folders(parts).mark() if is_local else _Bucket(parts).mark()
    if source is not None:
        place, mark = url_of(parts.config.output_path.absolute()), MARK_FILE if is_local else MARK_OBJECT
        raise ConfigurationError(
            f"nothing was recovered: a copy of {source} to {place} has not ended; run the same 'marketpipe copy' "
            f"again. If {source} is gone, remove {mark} there first: then what was copied is recovered"
        )


@define(eq=False)
class StoreTransfer:
    """Copies a store whose place is called ``name``.

    The methods are called in their order, while ``without_changes`` of the source and the update lock of the target
    are held. A crash leaves the mark of ``begin`` and the files that were copied. Without a state these belong to no
    store: a bucket shows nothing, and on a disk ``verify`` reports them as unrecorded. ``begin`` of another copy of the
    same source goes on from there; one of another source is refused. After ``copy_state`` the target is whole, and only
    the mark is left: see ``ends_another_copy``. Errors leave the same as a crash.
    """

    source: Parts
    target: Parts
    name: str
    _placed: Sequence[PlacedFile] = field(init=False, default=())
    _version: object = field(init=False, default=None)

    @property
    def _end(self) -> _Bucket | _Folders:
        return _Folders(self.target) if is_on_disk(self.target.config.output_path) else _Bucket(self.target)

    def ends_another_copy(self) -> bool:
        """Return whether the target is whole but for its mark, which is removed."""
        if self._end.mark() != self.name:
            return False
        self._end.remove_mark()
        return True

    def begin(self) -> None:
        """Mark the target, durably and before anything is copied to it.

        Raises ``ConfigurationError`` if it has anything but what an earlier copy of this source has left, also if two
        copies have found it empty, and the other one was faster; ``StorageError``, and ``StateError``.
        """
        if self._end.mark() != self.name:
            place = url_of(self.target.config.output_path.absolute())
            if not self._end.is_empty():
                raise ConfigurationError(f"nothing was copied: {place} is not empty; name another place")
            if not self._end.set_mark(self.name):
                raise ConfigurationError(f"nothing was copied: another store is being copied to {place}")
        self._version = place_parts.known_state(self.source).version()

    def copy_files(self, on_files: OnFiles) -> tuple[int, int, int]:
        """Copy all files; return how many, their bytes, and how many a copy that was killed had copied already.

        Those are left out. Raises ``StorageError`` and ``StateError``.
        """
        expected, files = self._files()
        counted = _Counted(files)
        on_files(0, expected)
        written = self._end.write(counted.files(), lambda: on_files(counted.count, expected))
        self._placed = written.placed
        return counted.count, counted.size, written.already_there

    def copy_state(self) -> Mapping[str, int]:
        """Copy all rows in one transaction, which places the files; return how many each table has.

        Raises ``StoreBusyError`` if the source was changed since ``begin`` or a process works with either state, and
        ``StateError``: the target has no state then.
        """
        from marketpipe.ingestion.infrastructure.sql.rows_with_files import RowsWithFiles
        from marketpipe.ingestion.infrastructure.sql.state_rows import copy_rows

        rows = place_parts.state_rows(self.source.config, self.source.machine)
        read = RowsWithFiles(rows, self._placed, self._check_unchanged)
        return copy_rows(read, place_parts.state_rows(self.target.config, self.target.machine))

    def end(self) -> None:
        """Remove the mark: the copy is a store like any other."""
        self._end.remove_mark()

    def _files(self) -> tuple[int, Iterator[NewPackedFile]]:
        from marketpipe.storage.infrastructure.bucket_upkeep.file_transfer import files_of_a_bucket, files_on_disk

        areas = place_parts.areas(self.source)
        if is_on_disk(self.source.config.output_path):
            return files_on_disk(self.source.machine.disk, areas)
        catalog = place_parts.known_state(self.source).file_catalog
        return files_of_a_bucket(catalog, place_parts.object_store(self.source), areas)

    def _check_unchanged(self) -> None:
        if place_parts.known_state(self.source).version() != self._version:
            raise StoreBusyError(CHANGED)


@define
class _Counted:
    """Counts files as they pass."""

    given: Iterator[NewPackedFile]
    count: int = 0
    size: int = 0

    def files(self) -> Iterator[NewPackedFile]:
        for file in self.given:
            self.count, self.size = self.count + 1, self.size + len(file.content)
            yield file
