"""``PublishedFiles`` in a bucket: a group of files is one object, and takes its place in the catalog by one change.

The order of the steps is what makes it so: put the object under a name that none had before, then change the catalog.
A crash in between leaves an object that no file is in, which ``gc`` collects. Nothing of a group is visible before all
of it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import define, evolve, field

from marketpipe.shared_kernel.domain.errors import StorageError, StoreUnreachableError
from marketpipe.shared_kernel.domain.object_catalog import INLINE, AppendedLines, CatalogChange, FileCatalog, PlacedFile
from marketpipe.shared_kernel.domain.store_inventory import ABSENT
from marketpipe.shared_kernel.events import JobFinished, JobStarted
from marketpipe.shared_kernel.infrastructure.machine.disk import read_bytes
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile, new_pack, with_its_end
from marketpipe.storage.infrastructure.publishing.digest_recorder import NothingRecorded, Recorder
from marketpipe.storage.infrastructure.publishing.published_files import TOGETHER_BYTES

MOST_BYTES: Final = 64_000_000
"""A group of more is put in several objects, each as soon as it is full; its files are visible together even so."""


@define(eq=False)
class JobAtWork:
    """The number of the ingestion whose bars are stored; "" while there is none, as when files are made of bars."""

    name: str = ""

    def on_job_started(self, event: JobStarted) -> None:
        self.name = str(event.job_id)

    def on_job_finished(self, _: JobFinished) -> None:
        self.name = ""


class ObjectFiles:
    """Publishes files so that readers see all of a group or nothing of it, at any moment and after any crash.

    What one thread publishes inside ``collected``, or keeps while it makes a group, is one change.
    """

    def __init__(
        self,
        catalog: FileCatalog,
        store: ObjectStore,
        places: Mapping[str, str],
        machine: Machine,
        now_ns: Callable[[], int],
        recorder: Recorder | None = None,
        on_synced: Callable[[int], None] = lambda _: None,
        job: JobAtWork | None = None,
    ) -> None:
        """``places`` are the areas of the store by their paths. ``machine`` has the disk that reads this bucket.

        ``recorder`` records what is published; ``on_synced`` is called with the number of files that were. Each object
        names the ``job`` that is at work.
        """
        self._catalog, self._store, self._machine, self._now_ns = catalog, store, machine, now_ns
        self._places, self._recorder, self._on_synced = dict(places), recorder or NothingRecorded(), on_synced
        self._job = job or JobAtWork()
        self._threads = threading.local()

    def publish(self, contents: Mapping[Path, bytes], modified_ns: int | None = None) -> None:
        with self.group() as group:
            for path, content in contents.items():
                group.add(path, content, modified_ns)

    @contextmanager
    def group(self, _: int = TOGETHER_BYTES) -> Iterator[ObjectFileGroup]:
        outer = self._collecting()
        if outer is not None and not outer.is_of_a_group:
            with _translated():
                yield (group := ObjectFileGroup(self, outer))
                group.publish()
            return
        group = ObjectFileGroup(self, _Collected(is_of_a_group=True))
        with self._made_to_collect(group.collected), _translated():
            try:
                yield group
                group.publish()
            finally:
                group.discard()

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Let all that this thread publishes, keeps and removes inside be one change at the end; none after an error.

        Nobody sees any of it before, this thread neither. Raises ``StorageError``.
        """
        if self._collecting() is not None:
            yield
            return
        collected = _Collected()
        with self._made_to_collect(collected), _translated():
            try:
                yield
                self.commit(collected)
            finally:
                self.discard(collected)

    def keep(self, second_names: Mapping[Path, Path]) -> None:
        """Give files second names. The names cost no bytes: they are in the catalog, and in the index of an object."""
        with _translated(*second_names.values()), self._change() as collected:
            for path, name in second_names.items():
                found = self._catalog.find(self.at(path))
                if found is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
                collected.keep(found, self.at(name))
                if self._recorder.records(name):
                    collected.digests[name] = _sha256(read_bytes(self._machine.disk, path))

    def confirm(self, paths: Collection[Path]) -> None:
        """Do nothing: what the catalog says is durable."""

    def remove(self, path: Path) -> None:
        with _translated(path), self._change() as collected:
            at = self.at(path)
            collected.files.pop(at, None)
            if self._catalog.find(at) is not None:
                collected.removed.update(dict.fromkeys(with_its_end(at)))
                if self._recorder.records(path):
                    collected.digests[path] = ABSENT

    def move(self, path: Path, target: Path) -> None:
        """Move a file or folder. Raises ``OSError`` if there is neither."""
        source, end = self.at(path), self.at(target)
        found = self._catalog.find(source)
        files = [found] if found else self._catalog.below(source)
        if not files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        with self._change() as collected:
            for file in files:
                collected.keep(file, end + file.path[len(source) :])
                collected.removed.update(dict.fromkeys(with_its_end(file.path)))

    def announce(self, folder: Path) -> None:
        """Do nothing: what is not published yet is in memory, or in an object that no file is in."""

    def close(self) -> None:
        """Do nothing, for the same reason."""

    def at(self, path: Path) -> str:
        """Return the path in the store. Raises ``OSError`` if it is outside."""
        text = os.path.normpath(path)
        for place, area in self._places.items():
            if text.startswith(f"{place}/"):
                return area + text[len(place) :]
        raise OSError(errno.EXDEV, "it is outside of the bucket that has this store", str(path))

    def new_file(self, path: Path, content: bytes, modified_ns: int | None) -> NewPackedFile:
        return NewPackedFile(self.at(path), content, self._now_ns() if modified_ns is None else modified_ns)

    def with_lines(self, path: Path, lines: bytes, first_lines: Callable[[], bytes]) -> AppendedLines | PlacedFile:
        """Return what adds the lines. A file that is in an object is taken into the catalog."""
        at, now = self.at(path), self._now_ns()
        found = self._catalog.object_of(at)
        appended = AppendedLines(at, lines, first_lines() if found is None else b"", now)
        if found is None or found == INLINE:
            return appended
        return appended.appended_to(read_bytes(self._machine.disk, path))

    def records(self, path: Path) -> bool:
        return self._recorder.records(path)

    def put(self, collected: _Collected) -> None:
        """Put the files that were collected so far: there are as many as an object should have."""
        self._put(collected, CatalogChange(), is_part=True)

    def commit(self, collected: _Collected) -> None:
        """Put what is left, and change the catalog once. The object comes first: so the change does not wait for it."""
        if collected.is_empty:
            return
        changes, digests, count = collected.changes(), dict(collected.digests), collected.count
        if collected.files or not changes.is_empty or collected.keys:
            self._put(collected, changes)
        with self._recorder.recorded(digests):
            collected.was_tried = True
            self._catalog.change(evolve(changes, placed=[*collected.placed, *changes.placed]))
        collected.clear()
        if count:
            self._on_synced(count)

    def discard(self, collected: _Collected) -> None:
        """Remove objects of files that were not published, as far as that is possible: ``gc`` collects the others.

        None is removed once the catalog was to be changed: the answer to a change that was made may have been lost.
        """
        if collected.keys and not collected.was_tried:
            with suppress(StorageError, StoreUnreachableError):
                self._store.delete(collected.keys)
        collected.clear()

    def _put(self, collected: _Collected, changes: CatalogChange, *, is_part: bool = False) -> None:
        files, now = [*collected.files.values()], self._now_ns()
        if is_part:
            pack = new_pack(files, changes, now, self._job.name, is_part=True)
        else:
            kept, parts = [*collected.kept.values()], [*collected.keys]
            pack = new_pack(files, changes, now, self._job.name, kept=kept, parts=parts)
        key = pack.key(self._machine.new_name())
        if not self._store.put_new(key, pack.content):
            raise StorageError(f"another object has the new name {key}; nothing was changed, try again")
        collected.keys.append(key)
        inline = {file.path for file in changes.placed}
        collected.placed += [file for file in pack.index.change_of(key).placed if file.path not in inline]
        collected.files.clear()
        collected.size = 0

    def _collecting(self) -> _Collected | None:
        found: _Collected | None = getattr(self._threads, "collected", None)
        return found

    @contextmanager
    def _made_to_collect(self, collected: _Collected) -> Iterator[None]:
        outer = self._collecting()
        self._threads.collected = collected
        try:
            yield
        finally:
            self._threads.collected = outer

    @contextmanager
    def _change(self) -> Iterator[_Collected]:
        """Yield what is collected on this thread, or else a change of its own, which is made at the end."""
        if (collecting := self._collecting()) is not None:
            yield collecting
            return
        own = _Collected()
        yield own
        self.commit(own)


@define(eq=False)
class _Collected:
    """What is going to be one change of the catalog. ``placed`` are files whose objects were put, under ``keys``.

    ``was_tried`` tells that the catalog was to be changed. ``is_of_a_group``: it is committed when the group is
    published.
    """

    is_of_a_group: bool = False
    was_tried: bool = False
    files: dict[str, NewPackedFile] = field(factory=dict)
    size: int = 0
    count: int = 0
    placed: list[PlacedFile] = field(factory=list)
    keys: list[str] = field(factory=list)
    second_names: dict[str, str] = field(factory=dict)
    kept: dict[str, PlacedFile] = field(factory=dict)
    removed: dict[str, None] = field(factory=dict)
    inline: dict[str, PlacedFile] = field(factory=dict)
    appended: list[AppendedLines] = field(factory=list)
    digests: dict[Path, str] = field(factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.placed) and self.changes().is_empty

    def keep(self, file: PlacedFile, name: str) -> None:
        self.second_names[file.path] = name
        self.kept[name] = file.at(name)

    def changes(self) -> CatalogChange:
        """Return all but the files in objects."""
        return CatalogChange([*self.inline.values()], [*self.removed], dict(self.second_names), [*self.appended])

    def clear(self) -> None:
        self.was_tried, self.size, self.count = False, 0, 0
        for each in (self.files, self.second_names, self.kept, self.removed, self.inline, self.digests):
            each.clear()
        for some in (self.placed, self.keys, self.appended):
            some.clear()


class ObjectFileGroup:
    """Files that are published together; see ``FileGroup``."""

    def __init__(self, files: ObjectFiles, collected: _Collected) -> None:
        self._files, self.collected = files, collected
        self._added, self.modified_ns = dict[Path, int](), dict[Path, int]()

    def add(self, path: Path, content: bytes, modified_ns: int | None = None, _: Collection[int] = ()) -> None:
        file, collected = self._files.new_file(path, content, modified_ns), self.collected
        if collected.size >= MOST_BYTES:  # only now: the last object of a group has its changes
            self._files.put(collected)
        collected.files[file.path] = file
        collected.size += len(content)
        collected.count += 1
        self._added[path] = file.modified_ns
        if self._files.records(path):
            collected.digests[path] = _sha256(content)

    def append(self, path: Path, lines: bytes, first_lines: Callable[[], bytes]) -> None:
        added = self._files.with_lines(path, lines, first_lines)
        if isinstance(added, AppendedLines):
            self.collected.appended.append(added)
        else:
            self.collected.inline[added.path] = added

    def publish(self) -> None:
        if self.collected.is_of_a_group:
            self._files.commit(self.collected)
        self.modified_ns.update(self._added)
        self._added.clear()

    def discard(self) -> None:
        if self.collected.is_of_a_group:
            self._files.discard(self.collected)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _translated(*paths: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or next(iter(paths), "the store")
        raise StorageError(f"cannot write {where}: {error.strerror}. Nothing was lost; try again") from error
