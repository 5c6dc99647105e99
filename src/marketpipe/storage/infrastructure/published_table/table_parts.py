"""What the catalog has of a table: its parts, each with the objects that it is in.

A part has all live files of one trading date, or all month files of one month, of all symbols; it is called as its
files are, without their symbols: ``year=2024/month=01/day=02.parquet``. No object is in two parts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.storage.domain.published_table import TableFile
from marketpipe.storage.infrastructure.objects.change_notes import KNOWN
from marketpipe.storage.infrastructure.objects.month_objects import FIGURES, figures_text
from marketpipe.storage.infrastructure.objects.packs import parsed_figures

PARTS: Final = "tables/parts/"


@frozen
class TablePart:
    """A part. ``left`` says what is not in the table.

    ``mixed`` are folders of months that are left because they have days in both forms, and ``objects`` those of which
    the catalog has figures as long as a file of them is live.
    """

    files: tuple[TableFile, ...] = ()
    left: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


def known_parts(catalog: FileCatalog) -> dict[str, TablePart]:
    """Return all parts by their names, with one row for each. Raises ``StateError``."""
    found = catalog.below(PARTS.rstrip("/"))
    return {file.path.removeprefix(PARTS): _part_of(json.loads(file.content or b"{}")) for file in found}


def last_reading(catalog: FileCatalog) -> str | None:
    """Return the entry of the last reading; None if the parts tell nothing, and all has to be read."""
    entries = catalog.listed(KNOWN.rstrip("/"))
    return entries[0].path if len(entries) == 1 else None


def record_reading(
    catalog: FileCatalog,
    before: str | None,
    after: str,
    parts: Mapping[str, TablePart],
    removed: Iterable[str],
    moment: int,
) -> None:
    """Record what the parts are now; ``removed`` are entries that nothing needs any more.

    ``before`` and ``after`` are the entries of the former reading and of this one. Raises ``StorageError`` if another
    publisher has read meanwhile: nothing is recorded then.
    """
    placed = [_entry(name, part, moment) for name, part in parts.items() if part != TablePart()]
    empty = [PARTS + name for name, part in parts.items() if part == TablePart()]
    if before is None:
        placed.append(PlacedFile.inline(after, b"", moment))
        empty += [file.path for file in catalog.listed(KNOWN.rstrip("/"))]
        catalog.change(CatalogChange(placed, [*removed, *empty]))
        return
    if catalog.find(before) is None:
        raise StorageError("another process has published meanwhile; nothing was changed, try again")
    # A second name is refused if the first one is gone, and the whole change with it.
    catalog.change(CatalogChange(placed, [*removed, *empty, before], second_names={before: after}))


def written_file(path: str, file: TableFile, moment: int) -> PlacedFile:
    return PlacedFile.inline(path, json.dumps(_text_of(file)).encode(), moment)


def named_file(entry: PlacedFile) -> TableFile:
    return _file_of(json.loads(entry.content or b""))


def figures_of(catalog: FileCatalog, objects: Collection[str]) -> dict[str, TableFile]:
    """Return the objects of these that the catalog has figures of."""
    found = {key: entry for key in sorted(objects) if (entry := catalog.find(FIGURES + key)) is not None}
    return {key: _file_of({**json.loads(entry.content or b""), "key": key}) for key, entry in found.items()}


def _text_of(file: TableFile) -> dict[str, Any]:
    return {**figures_text(file.figures, file.size), "key": file.key}


def _entry(name: str, part: TablePart, moment: int) -> PlacedFile:
    text = {
        "files": [_text_of(file) for file in part.files],
        "left": part.left,
        "mixed": part.mixed,
        "objects": part.objects,
    }
    written = json.dumps({key: value for key, value in text.items() if value}, separators=(",", ":"))
    return PlacedFile.inline(PARTS + name, written.encode(), moment)


def _part_of(text: Mapping[str, Any]) -> TablePart:
    files = tuple(map(_file_of, text.get("files", ())))
    return TablePart(files, *(tuple(text.get(name, ())) for name in ("left", "mixed", "objects")))


def _file_of(text: Mapping[str, Any]) -> TableFile:
    figures = parsed_figures(*(text[name] for name in ("files", "rows", "symbols", "dates", "times")))
    return TableFile(text["key"], text["size"], figures)
