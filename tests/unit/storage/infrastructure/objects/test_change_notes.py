from __future__ import annotations

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.storage.infrastructure.objects.change_notes import (
    KNOWN,
    MOST_PATHS,
    NOTES,
    notes_in,
    with_note,
    without_notes,
)
from tests.support.in_memory_file_catalog import InMemoryFileCatalog

ONE = "data/symbol=AAPL/year=2024/month=01/day=02.parquet"
OTHERS = [ONE.replace("day=02", f"day={number:02}") for number in (3, 4, 5)]


def placed(path: str) -> PlacedFile:
    return PlacedFile(path, "objects/1.parquet", 0, 10, 1)


def noted(change: CatalogChange) -> list[frozenset[str]]:
    catalog = InMemoryFileCatalog()
    catalog.change(CatalogChange([placed(ONE), placed("revisions/a")]))
    catalog.change(with_note(change, lambda: "n1"))
    return [note.paths for note in notes_in(catalog)]


def test_a_note_names_every_file_of_minute_bars_that_a_change_touches() -> None:
    change = CatalogChange(
        [placed(OTHERS[0]), placed("aggregates/x")],
        removed=["quarantine/x", OTHERS[1]],
        second_names={ONE: OTHERS[2], "revisions/a": "revisions/b"},
        times={ONE: 5},
    )
    assert noted(change) == [frozenset({ONE, *OTHERS})]


def test_a_change_of_other_files_leaves_no_note() -> None:
    change = CatalogChange([placed("aggregates/x"), placed("database/x")], second_names={ONE: "revisions/x"})
    assert noted(change) == []
    assert with_note(CatalogChange(), lambda: "n1").is_empty


def test_a_note_of_very_many_files_names_none() -> None:
    files = [placed(f"data/symbol=A/year=2024/month=01/{number}") for number in range(MOST_PATHS + 1)]
    catalog = InMemoryFileCatalog()
    catalog.change(with_note(CatalogChange(files), lambda: "n1"))
    catalog.change(with_note(CatalogChange(files[1:]), lambda: "n2"))
    assert [(note.is_of_all, len(note.paths)) for note in notes_in(catalog)] == [(True, 0), (False, MOST_PATHS)]


def test_notes_are_kept_only_for_a_table_that_was_published() -> None:
    catalog = InMemoryFileCatalog()
    catalog.change(with_note(CatalogChange([placed(ONE)]), lambda: "n1"))
    catalog.change(CatalogChange([PlacedFile.inline(f"{KNOWN}k1", b"", 1)]))
    without_notes(catalog)
    assert catalog.has_any(NOTES.rstrip("/"))
    catalog.change(CatalogChange(removed=[f"{KNOWN}k1"]))
    without_notes(catalog)
    assert not catalog.has_any(NOTES.rstrip("/"))
    assert catalog.find(ONE) is not None
