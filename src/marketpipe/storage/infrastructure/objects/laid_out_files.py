"""Files of a store of objects, laid out in a private folder of this machine for DuckDB, which reads no objects.

A query reads few of the files of a store. Those of minutes get their content only if SQL reads them: to know whether a
read copy is fresh, their sizes and times are enough. Whatever is laid out is a file of one moment of the catalog, and
nobody else changes it while it is read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Final

from attrs import define, field

from marketpipe.shared_kernel.domain.errors import MarketPipeError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import FileCatalog, PlacedFile
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.threads import ALock
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.compacted.month_file import END_BYTES, MONTH_FILE
from marketpipe.storage.infrastructure.objects.object_ranges import read_together
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.reading.needed_bars import NeededBars
from marketpipe.storage.infrastructure.reading.needed_files import has_dates
from marketpipe.storage.infrastructure.store_layout import StoreLayout

PREFIX: Final = "marketpipe-query-"
IN_USE: Final = ".in-use"
"""A file that the process keeps locked: a folder in which nobody does is what a dead process has left."""


@define
class _Laid:
    """A file that is laid out; ``is_whole`` if it has its content, and not just its size."""

    file: PlacedFile
    is_whole: bool


@define(eq=False)
class LaidOutFiles:
    """``SourceFiles`` over objects. ``places`` is the layout of the store, by whose paths its files are named.

    The folder is made by the first survey.
    """

    catalog: FileCatalog
    store: ObjectStore
    places: StoreLayout
    machine: Machine = HERE
    parent: str = field(factory=gettempdir)
    _folder: str | None = field(init=False, default=None)
    _lock_file: int | None = field(init=False, default=None)
    _laid: dict[str, _Laid] = field(init=False, factory=dict)
    _changing: ALock = field(init=False)

    @_changing.default
    def _new_lock(self) -> ALock:
        return self.machine.threads.reentrant_lock()

    @property
    def layout(self) -> StoreLayout:
        root = Path(self._made())
        return StoreLayout(*(root / area for area in _AREAS), machine=HERE)

    def survey(self, needed: NeededBars, timeframes: Collection[Timeframe]) -> None:
        areas = _areas_of(timeframes)
        with self._changing:
            found = {area: self._found(area, needed) for area in areas}
            for area, files in found.items():
                self._remove_all_but(area, files)
            minutes = found.pop(StoreArea.DATA.value, {})
            self._place(minutes.values())
            self._write(file for files in found.values() for file in files.values() if not self._is_whole(file))

    def bring(self, months: Iterable[MonthPartition] | None) -> None:
        with self._changing:
            folders = None if months is None else {f"{StoreArea.DATA}/{month.folder}" for month in months}
            laid = [each.file for path, each in self._laid.items() if path.startswith(f"{StoreArea.DATA}/")]
            wanted = (file for file in laid if folders is None or os.path.dirname(file.path) in folders)
            self._write([file for file in wanted if not self._is_whole(file)])

    @contextmanager
    def naming(self) -> Iterator[None]:
        try:
            yield
        except MarketPipeError as error:
            error.args = tuple(self._named(each) if isinstance(each, str) else each for each in error.args)
            raise

    def close(self) -> None:
        with self._changing:
            self._laid.clear()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            if self._lock_file is not None:
                os.close(self._lock_file)
            self._folder = self._lock_file = None

    def _named(self, text: str) -> str:
        if self._folder is not None:
            for area, place in zip(_AREAS, _roots(self.places), strict=True):
                text = text.replace(f"{self._folder}/{area}", str(place))
        return text

    def _found(self, area: str, needed: NeededBars) -> Mapping[str, PlacedFile]:
        """Return the needed files of an area, and those of one symbol more: whether a store has other bars is asked."""
        if needed.symbols is None:
            return {file.path: file for file in self.catalog.below(area) if has_dates(file.path, needed)}
        wanted = {f"symbol={symbol}" for symbol in needed.symbols}
        other = next((name for name in self.catalog.folders(area) if name not in wanted), None)
        found = [file for name in wanted for file in self.catalog.below(f"{area}/{name}")]
        files = {file.path: file for file in found if has_dates(file.path, needed)}
        if other is not None:
            files |= {file.path: file for file in self.catalog.below(f"{area}/{other}")[:1]}
        return files

    def _remove_all_but(self, area: str, files: Mapping[str, PlacedFile]) -> None:
        for path in [path for path in self._laid if path.startswith(f"{area}/") and path not in files]:
            os.unlink(f"{self._folder}/{path}")
            del self._laid[path]

    def _is_whole(self, file: PlacedFile) -> bool:
        laid = self._laid.get(file.path)
        return laid is not None and laid.is_whole and laid.file == file

    def _place(self, files: Iterable[PlacedFile]) -> None:
        """Lay files of minutes out without their content, but for the end of a month file, which names its days."""
        ends = list[PlacedFile]()
        for file in files:
            laid = self._laid.get(file.path)
            if laid is not None and laid.file == file:
                continue
            self._new_file(file)
            if os.path.basename(file.path) == MONTH_FILE and file.size:
                ends.append(_end_of(file))
        self._fill(ends)

    def _write(self, files: Iterable[PlacedFile]) -> None:
        wanted = [*files]
        for file in wanted:
            laid = self._laid.get(file.path)
            if laid is None or laid.file != file:
                self._new_file(file)
        self._fill([file for file in wanted if file.size and file.content is None])
        for file in wanted:
            if file.content:
                self._write_at(file, file.content)
            self._laid[file.path].is_whole = True

    def _fill(self, files: Collection[PlacedFile]) -> None:
        """Write the bytes of these files, or of a part of each, to where they are in them."""
        for file, content in read_together(files, self.store, self.machine.threads.executor, "marketpipe-lay"):
            self._write_at(file, content)

    def _new_file(self, file: PlacedFile) -> None:
        """Lay a file out with its size and time. One that it replaces has another inode, and may be open still."""
        path = f"{self._made()}/{file.path}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(path)
        with _translated(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.truncate(descriptor, file.size)
                os.utime(descriptor, ns=(file.modified_ns, file.modified_ns))
            finally:
                os.close(descriptor)
        self._laid[file.path] = _Laid(file, is_whole=False)

    def _write_at(self, part: PlacedFile, content: bytes) -> None:
        laid = self._laid[part.path].file
        path = f"{self._folder}/{part.path}"
        if len(content) != part.size:
            raise StorageError(f"{part.path} has lost its end: {part.object} is shorter than the state says")
        with _translated(path):
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, content, part.offset - laid.offset)
                os.utime(descriptor, ns=(laid.modified_ns, laid.modified_ns))  # it is the same file, not a newer one
            finally:
                os.close(descriptor)

    def _made(self) -> str:
        with self._changing:
            if self._folder is None:
                sweep(self.parent)
                with _translated(self.parent):
                    folder = mkdtemp(prefix=PREFIX, dir=self.parent)
                    self._lock_file = os.open(f"{folder}/{IN_USE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._folder = folder
            return self._folder


def sweep(parent: str) -> None:
    """Remove the folders that processes which have ended left in a folder for temporary files."""
    for folder in sorted(Path(parent).glob(f"{PREFIX}*")):
        with suppress(OSError):
            descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


_AREAS: Final = tuple(map(str, StoreArea))
"""In the order in which ``StoreLayout`` takes them."""


def _roots(layout: StoreLayout) -> Iterator[Path]:
    yield layout.data
    yield from layout.derived().values()


def _areas_of(timeframes: Collection[Timeframe]) -> list[str]:
    """Return the folders of all files that bars of these timeframes may be made of; that of the minutes is the first.

    Weeks and months are made of days.
    """
    stored = {Timeframe.DAY_1 if each.is_made_of_days else each for each in timeframes}
    aggregated = [f"{StoreArea.AGGREGATES}/timeframe={each}" for each in Timeframe if each in stored]
    days = [StoreArea.OFFICIAL.value] if Timeframe.DAY_1 in stored else []
    return [StoreArea.DATA.value, StoreArea.COPIES.value, *days, *aggregated]


def _end_of(file: PlacedFile) -> PlacedFile:
    """Return the part of a month file that names its days."""
    size = min(END_BYTES, file.size)
    return PlacedFile(file.path, file.object, file.offset + file.size - size, size, file.modified_ns)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"files of the store cannot be laid out for a query: {path}: {error.strerror}; free space, or set TMPDIR"
        ) from error
