"""How much of the catalog is searched."""

from __future__ import annotations

from pathlib import Path

from marketpipe.ingestion.infrastructure.sql.file_catalog import FOLDERS
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, PlacedFile


def test_a_folder_is_listed_by_searches_in_the_key_however_many_files_are_below_it(tmp_path: Path) -> None:
    state = SQLiteState(tmp_path / "state.sqlite", "data")
    state.file_catalog.change(
        CatalogChange(placed=[PlacedFile(f"data/symbol={n}/a/b", "o", 0, 1, 1) for n in range(9)])
    )

    plan = [row[-1] for row in state._database.query(f"EXPLAIN QUERY PLAN {FOLDERS}", (1, "data/", "data0", 5))]

    assert len([step for step in plan if "USING PRIMARY KEY" in step]) == 2, plan
    assert not [step for step in plan if "SCAN" in step and "placed_files" in step], plan
    state.close()


def test_an_append_writes_its_own_lines_and_not_those_before(tmp_path: Path) -> None:
    state = SQLiteState(tmp_path / "state.sqlite", "data")
    line = b"x" * 9_999 + b"\n"

    def append() -> int:
        """Return how many bytes are written."""
        state._database.query("PRAGMA wal_checkpoint(TRUNCATE)", ())
        state.file_catalog.change(CatalogChange(appended=[AppendedLines("revisions/known_since.csv", line, b"", 1)]))
        return (tmp_path / "state.sqlite-wal").stat().st_size

    written = [append() for _ in range(40)]

    assert max(written[1:]) < 4 * len(line), written
    found = state.file_catalog.find("revisions/known_since.csv")
    assert found == PlacedFile.inline("revisions/known_since.csv", 40 * line, 1)
    state.close()
