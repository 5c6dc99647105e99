"""What a published table consists of, of one moment of the catalog: each live bar is in one object of it.

An object whose files are all live is in it as it is. Days of others are copied into objects that are made for it: those
of a trading date together, so that a correction makes a new copy of that date alone, and what is left of a month object
in pieces, so that the next correction makes a new copy of a piece. Only what has changed since the last time is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Final

from attrs import define, field

from marketpipe.shared_kernel.domain.errors import ObjectLostError
from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.storage.domain.published_table import TableContents, TableFile
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter
from marketpipe.storage.infrastructure.objects.change_notes import KNOWN
from marketpipe.storage.infrastructure.objects.month_objects import FIGURES, OBJECT_BYTES
from marketpipe.storage.infrastructure.objects.table_objects import MOST_ROW_GROUPS
from marketpipe.storage.infrastructure.published_table.changed_files import all_files, changed_files
from marketpipe.storage.infrastructure.published_table.table_copies import TableCopies
from marketpipe.storage.infrastructure.published_table.table_parts import (
    TablePart,
    figures_of,
    known_parts,
    last_reading,
    record_reading,
)

PIECE_BYTES: Final = 16_000_000
"""What is left of so many bytes of a month object is copied together."""
DAYS_IN_A_MONTH: Final = 31
NOTHING: Final = TablePart()


@define(eq=False)
class LiveTable:
    """``TableSource`` over a catalog and a bucket, in which ``copies`` are made."""

    copies: TableCopies
    object_bytes: int = field(default=OBJECT_BYTES, kw_only=True)
    piece_bytes: int = field(default=PIECE_BYTES, kw_only=True)

    def contents(self) -> TableContents:
        catalog, copies = self.copies.catalog, self.copies
        before, known, made = last_reading(catalog), known_parts(catalog), list[str]()
        read = None if before is None else changed_files(catalog, known)
        is_whole = read is None
        read = read or all_files(catalog, known)
        parts = dict[str, TablePart]()
        for name, files in read.files.items():
            live = [files[folder] for folder in sorted(files.keys() - read.mixed)]
            mixed = sorted(files.keys() & read.mixed)
            parts[name] = self._part(name, live, mixed, made)
        removed = [*read.notes, *self._unneeded(parts, known, is_whole=is_whole)]
        record_reading(catalog, before, f"{KNOWN}{copies.new_name()}", parts, removed, copies.now_ns())
        now = [part for _, part in sorted({**known, **parts}.items())]
        left = dict.fromkeys(chain.from_iterable(part.left for part in now))  # a month is left of several parts
        return TableContents(tuple(chain.from_iterable(part.files for part in now)), tuple(made), tuple(left))

    def _part(self, name: str, files: Sequence[PlacedFile], mixed: Sequence[str], made: list[str]) -> TablePart:
        """Return a part of just these files; the keys of the objects that are made for it are added to ``made``."""
        left = [f"{folder}: it has days in its month file and as files: run 'marketpipe compact'" for folder in mixed]
        figures = dict[str, TableFile]()
        if name.endswith(f"/{MONTH_FILE}"):
            figures = figures_of(self.copies.catalog, {file.object for file in files})
        whole, loose = list[TableFile](), list[PlacedFile]()
        for key, some in groupby(sorted(files, key=attrgetter("object")), attrgetter("object")):
            found = [*some]
            if key in figures and figures[key].figures.files == len(found):
                whole.append(figures[key])
            else:
                loose += found
        for group in self._groups(loose, figures):
            try:
                copy, is_new = self.copies.copy(name, group)
            except (NotAFooter, ObjectLostError) as error:
                left.append(f"{group[0].path} and {len(group) - 1} more: {error}")
                continue
            whole.append(copy)
            made += [copy.key] if is_new else []
        return TablePart(tuple(whole), tuple(left), tuple(mixed), tuple(figures))

    def _groups(self, files: Sequence[PlacedFile], figures: Mapping[str, TableFile]) -> Iterator[list[PlacedFile]]:
        """Yield files of a part that become one object, ascending by symbol: of a piece of a month object, or others.

        The bounds of a piece are in the month object, so they stay where they are whatever is superseded.
        """

        def piece(file: PlacedFile) -> tuple[str, int]:
            return (file.object, file.offset // self.piece_bytes) if file.object in figures else ("", 0)

        for _, together in groupby(sorted(files, key=lambda file: (piece(file), file.path)), piece):
            yield from _limited(together, self.object_bytes)

    def _unneeded(
        self, parts: Mapping[str, TablePart], known: Mapping[str, TablePart], *, is_whole: bool
    ) -> Iterator[str]:
        """Yield the entries of copies that are not used any more, and those of objects of which no file is live."""
        used = {file.key for part in parts.values() for file in part.files}
        live = {key for part in parts.values() for key in part.objects}
        if is_whole:
            yield from self.copies.unused("", used)
            entries = [file.path for file in self.copies.catalog.below(FIGURES.rstrip("/"))]
            yield from (path for path in entries if path.removeprefix(FIGURES) not in live)
            return
        for name in parts:
            yield from self.copies.unused(name, used)
            yield from (FIGURES + key for key in known.get(name, NOTHING).objects if key not in live)


def _limited(files: Iterator[PlacedFile], most_bytes: int) -> Iterator[list[PlacedFile]]:
    """Yield as many files together as an object may have."""
    group, size, days = list[PlacedFile](), 0, 0
    for file in files:
        more = DAYS_IN_A_MONTH if file.path.endswith(f"/{MONTH_FILE}") else 1
        if group and (size + file.size > most_bytes or days + more > MOST_ROW_GROUPS):
            yield group
            group, size, days = [], 0, 0
        group.append(file)
        size, days = size + file.size, days + more
    yield group
