"""Notes of what has changed among the minute bars of a bucket: whoever published them reads the rest no more.

Each change leaves a note, under a name of its own and in the same transaction. So no order of numbers has to agree with
the order of commits, and no writer waits for another. Whoever has read what the notes name removes just these.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.storage.domain.integrity import StoreArea

NOTES: Final = "tables/changed/"
KNOWN: Final = "tables/known/"
"""Where the catalog has an entry if it was read as a whole once, so that the notes tell what has changed since. The
name of the entry is another one after each reading: of two publishers, one finds that it was overtaken."""
MOST_PATHS: Final = 20_000
"""Of a change of more, the note says only that everything has to be read."""


@frozen
class ChangeNote:
    """The paths of minute bars that a change placed, removed or touched; ``is_of_all``: any of them."""

    entry: str
    paths: frozenset[str] = field(repr=lambda paths: f"<{len(paths)}>")

    @property
    def is_of_all(self) -> bool:
        return not self.paths


def with_note(change: CatalogChange, new_name: Callable[[], str]) -> CatalogChange:
    """Return the change with a note of it, if it is one of minute bars."""
    area = f"{StoreArea.DATA}/"
    touched = *(file.path for file in change.placed), *change.removed, *change.second_names.values(), *change.times
    paths = sorted({path for path in touched if path.startswith(area)})
    if not paths:
        return change
    content = b"" if len(paths) > MOST_PATHS else zlib.compress("\n".join(paths).encode())
    return evolve(change, placed=[*change.placed, PlacedFile.inline(f"{NOTES}{new_name()}", content, 0)])


def notes_in(catalog: FileCatalog) -> list[ChangeNote]:
    """Return all notes. Raises ``StateError``."""
    return [ChangeNote(file.path, _paths(file.content or b"")) for file in catalog.listed(NOTES.rstrip("/"))]


def without_notes(catalog: FileCatalog) -> None:
    """Remove the notes if no publisher needs them: of a store that was never published. None may publish meanwhile."""
    if not catalog.has_any(KNOWN.rstrip("/")):
        removed = [note.path for note in catalog.listed(NOTES.rstrip("/"))]
        catalog.change(CatalogChange(removed=removed))


def _paths(content: bytes) -> frozenset[str]:
    return frozenset(zlib.decompress(content).decode().split("\n")) if content else frozenset()
