"""The live files of those parts of a table that have changed since it was published last, of one moment.

What the notes name is read, and the rest of the same parts. What changes meanwhile leaves more notes, so reading goes
on until there is none: then all that was read is of that moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from typing import Final

from attrs import define, field

from marketpipe.shared_kernel.domain.object_catalog import FileCatalog, PlacedFile
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.objects.change_notes import ChangeNote, notes_in
from marketpipe.storage.infrastructure.published_table.table_parts import TablePart

MOST_ROUNDS: Final = 50
Files = dict[str, dict[str, PlacedFile]]
"""Files by their parts, and there by their folders."""


@define
class ReadFiles:
    """``files`` of all parts that may have changed, and ``notes`` that need not be read again.

    ``mixed`` are folders of months that have days in both forms: their rows would be doubled.
    """

    files: Files
    mixed: frozenset[str]
    notes: tuple[str, ...]


def all_files(catalog: FileCatalog, known: Collection[str]) -> ReadFiles:
    """Read everything, by one question."""
    notes = tuple(note.entry for note in notes_in(catalog))  # before the files: what is noted later is read again
    live = catalog.below(StoreArea.DATA.value)
    files: Files = {name: {} for name in known}
    for file in live:
        files.setdefault(part_of(file.path), {})[folder_of(file.path)] = file
    return ReadFiles(files, frozenset(_mixed(live)), notes)


def changed_files(catalog: FileCatalog, known: Mapping[str, TablePart]) -> ReadFiles | None:
    """Read what has changed, given the parts as they were; None if everything has to be read."""
    reading, notes = _Reading(catalog, known), dict[str, ChangeNote]()
    reading.begin()
    for _ in range(MOST_ROUNDS):
        new = [note for note in notes_in(catalog) if note.entry not in notes]
        if not new:
            return ReadFiles(reading.files, frozenset(reading.mixed), tuple(notes))
        if any(note.is_of_all for note in new):
            return None
        notes |= {note.entry: note for note in new}
        reading.read(frozenset().union(*(note.paths for note in new)))
    return None


@define
class _Reading:
    catalog: FileCatalog
    known: Mapping[str, TablePart]
    files: Files = field(factory=dict)
    mixed: set[str] = field(factory=set)
    _symbols: list[str] | None = None

    def begin(self) -> None:
        """Read again what is not in the table: the reason may have gone."""
        left = [name for name, part in self.known.items() if part.left]
        if left:
            self._add({folder for name in left for folder in self.known[name].mixed}, dict.fromkeys(left, ()))

    def read(self, paths: Collection[str]) -> None:
        """Read the files at these paths, and the rest of the parts that they are in."""
        parts = dict[str, list[str]]()
        for path in paths:
            parts.setdefault(part_of(path), []).append(folder_of(path))
        self._add({folder_of(path) for path in paths}, parts)

    def _add(self, folders: Collection[str], parts: Mapping[str, Collection[str]]) -> None:
        """Read these parts: of a part that is new, or was read before, the given folders alone.

        ``folders`` are those of the months that may have changed their form.
        """
        self.mixed -= {*folders}
        in_both = [file.path for file in self._in_both_forms(folders)]
        self.mixed |= {folder_of(path) for path in in_both}
        wanted = {name: [*found] for name, found in parts.items()}
        for path in in_both:
            wanted.setdefault(part_of(path), []).append(folder_of(path))
        for name, found in wanted.items():
            is_to_complete = name not in self.files and name in self.known
            self._read_part(name, self._all_folders(name, found) if is_to_complete else found)

    def _read_part(self, name: str, folders: Collection[str]) -> None:
        files = self.files.setdefault(name, {})
        for folder in folders:
            files.pop(folder, None)
        found = self.catalog.in_each({*folders}, name.rpartition("/")[2])
        files.update((folder_of(file.path), file) for file in found)

    def _in_both_forms(self, folders: Collection[str]) -> list[PlacedFile]:
        """Return the files of those months that have some in both forms."""
        compacted = [folder_of(file.path) for file in self.catalog.in_each(folders, MONTH_FILE)]
        files = self.catalog.in_each(compacted) if compacted else []
        mixed = _mixed(files)
        return [file for file in files if folder_of(file.path) in mixed]

    def _all_folders(self, part: str, more: Iterable[str]) -> set[str]:
        """Return the folder of this month of each symbol."""
        area, month = StoreArea.DATA.value, part.rpartition("/")[0]
        if self._symbols is None:
            self._symbols = [*self.catalog.folders(area)]
        return {*more, *(f"{area}/{symbol}/{month}" for symbol in self._symbols)}


def part_of(path: str) -> str:
    """Return the part that a file is in: its path without the area and the symbol."""
    return path.split("/", 2)[2]


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _mixed(files: Iterable[PlacedFile]) -> set[str]:
    """Return the folders that have a month file and others, of files that ascend by their paths."""
    found = groupby(files, lambda file: folder_of(file.path))
    names = ((folder, {file.path.rpartition("/")[2] for file in some}) for folder, some in found)
    return {folder for folder, some in names if MONTH_FILE in some and len(some) > 1}
