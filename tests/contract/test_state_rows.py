"""Copying the rows of a store from one database of states into another: between SQLite files here.

tests/servers runs the same tests from and to a real PostgreSQL server.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from attrs import field, frozen

from marketpipe.ingestion.infrastructure.sql.database import Row
from marketpipe.ingestion.infrastructure.sql.state_rows import PLACED, STORE, TABLES, StateRows, WrittenRows, copy_rows
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile
from marketpipe.ingestion.infrastructure.sqlite_rows import SQLiteRows
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError, StoreBusyError
from tests.unit.ingestion.infrastructure.test_sqlite_schema_state_migration import CONTENT, VERSION_1

NOT_COPIED = {"stores", "leases", "claims", "sqlite_sequence"}
MICROS = 1_709_672_400_000_000
MOMENT = "2024-03-05T21:00:00Z"
STORE_ROW = ("synthetic", "seed-7", "raw", "extended", 12, None, 389)
ROWS: Mapping[str, Sequence[Row]] = {
    "jobs": [
        (3, "completed", MOMENT, MOMENT, 2, "2024-03-04", "2024-03-05", "extended", 4, 4, 0, "4711-ab"),
        (4, "interrupted", MOMENT, None, 2, "2024-03-04", "2024-03-05", "extended", 4, 1, 0, None),
    ],
    "checkpoints": [
        ("AAPL", "2024-03-04", "complete", 7, 1, 0, 3, MOMENT, None, 1, 1),
        ("BRK.B", "2024-03-04", "failed", 7, 2, 1, 4, MOMENT, "it failed: \\ ü\t1\n2", 2, 3),
    ],
    "partitions": [
        (
            "AAPL",
            "2024-03-04",
            390,
            MOMENT,
            MOMENT,
            7_000_000_000,
            "ab" * 32,
            1_709_672_400_000_000,
            b"\0\xff\\",
            "7-1",
            b"",
        ),
        ("BRK.B", "2024-03-04", 1, MOMENT, MOMENT, 70, "cd" * 32, None, None, "", None),
    ],
    "official_years": [("AAPL", 2024, b"\x01\x02", "", None, None, MOMENT)],
    "files": [("data/a", "ab" * 32), ("data/a", "cd" * 32), ("data/B", "cd" * 32), ("data/ü", "cd" * 32)],
    "runs": [("ingest", "completed", MOMENT, 0.1)],
    "totals": [("bars", '["AAPL"]', 1e300), ("bars", "[]", 0.1 + 0.2)],
    "placed_files": [
        ("data", "day=04.parquet", "abc", 4, 7, 1_709_672_400_123_456_789, None),
        ("data", "known", "", 0, 2, 0, b"x\n"),
    ],
    "appended_lines": [("data", "known", 2, b"y\n", 1), ("data", "known", 11, b"\0\xff", 1_709_672_400_123_456_789)],
}
"""By table, in no order."""


@frozen
class Ends:
    """``new_target`` makes the other end for a location; both are empty at first."""

    source: StateRows
    new_target: Callable[[str], StateRows]
    in_use: Callable[[StateRows], AbstractContextManager[None]] = field(repr=False)
    """Open the state of an end as a process does that works with it, until the test ends."""

    @property
    def target(self) -> StateRows:
        return self.new_target("data")


@contextmanager
def used_file(end: StateRows) -> Iterator[None]:
    assert isinstance(end, SQLiteRows)
    file = SQLiteFile(end.path, end.location)
    file.holder_name()
    yield
    file.close()


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    target = tmp_path / "other" / "state.sqlite"
    return Ends(SQLiteRows(tmp_path / "a.sqlite", "data"), lambda name: SQLiteRows(target, name), used_file)


def fill(end: StateRows) -> None:
    with end.writing() as rows:
        rows.add_store(STORE_ROW)
        for table in TABLES:
            rows.add(table, iter(ROWS[table.name]))


def read(end: StateRows) -> tuple[Row, Mapping[str, Sequence[Row]]]:
    with end.reading() as rows:
        return rows.store(), {table.name: [*rows.rows(table)] for table in TABLES}


def test_all_tables_of_a_state_are_copied_with_all_their_columns(tmp_path: Path) -> None:
    file = SQLiteFile(tmp_path / "state.sqlite", "data")
    names = {name for (name,) in file.query("SELECT name FROM sqlite_master WHERE type = 'table'", ())}
    columns = {
        name: {str(column[1]) for column in file.query(f"PRAGMA table_info({name})", ())} - {"store_id", "location"}
        for name in names
    }
    file.close()
    assert {table.name: set(table.names) for table in TABLES} == {
        name: found for name, found in columns.items() if name not in NOT_COPIED
    }
    assert set(STORE) == columns["stores"]
    assert ROWS.keys() == {table.name for table in TABLES}


def test_a_copy_has_the_same_rows_and_the_source_keeps_its_own(ends: Ends) -> None:
    fill(ends.source)
    before = read(ends.source)
    target = ends.target
    counted = copy_rows(ends.source, target)
    assert counted == {name: len(rows) for name, rows in ROWS.items()}
    assert read(target) == read(ends.source) == before
    assert {name: sorted(rows, key=repr) for name, rows in before[1].items()} == {
        name: sorted(rows, key=repr) for name, rows in ROWS.items()
    }


def test_what_one_state_alone_knows_of_its_bucket_is_not_copied(ends: Ends) -> None:
    of_one = [("servers/", "0a", "", 0, 0, 0, b""), ("servers/states/", "0b", "", 0, 0, 0, b"")]
    (placed,) = (table for table in TABLES if table.name == PLACED)
    with ends.source.writing() as rows:
        rows.add_store(STORE_ROW)
        rows.add(placed, iter([*ROWS[PLACED], *of_one]))
    target = ends.target

    assert copy_rows(ends.source, target)[PLACED] == len(ROWS[PLACED])
    assert sorted(read(target)[1][PLACED]) == sorted(ROWS[PLACED])


def test_a_copy_back_is_the_same_again(ends: Ends, tmp_path: Path) -> None:
    fill(ends.source)
    target, back = ends.target, SQLiteRows(tmp_path / "back.sqlite", "data")
    copy_rows(ends.source, target)
    copy_rows(target, back)
    assert read(back) == read(ends.source)


def test_a_state_that_exists_is_refused_and_stays(ends: Ends) -> None:
    fill(ends.source)
    target = ends.target
    copy_rows(ends.source, target)
    with pytest.raises(ConfigurationError, match="has a state of this store already"):
        copy_rows(ends.source, target)
    assert read(target) == read(ends.source)


def test_a_state_that_is_absent_is_refused_and_nothing_is_made(ends: Ends) -> None:
    target = ends.target
    with pytest.raises(ConfigurationError, match="has no state of this store"):
        copy_rows(ends.source, target)
    with pytest.raises(ConfigurationError, match="has no state of this store"):
        read(target)


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_state_with_which_a_process_works_is_refused(ends: Ends, which: str) -> None:
    fill(ends.source)
    target = ends.target
    used = {"source": ends.source, "target": target}[which]
    with ends.in_use(used), pytest.raises(StoreBusyError, match="a process works with the state in"):
        copy_rows(ends.source, target)
    assert copy_rows(ends.source, target)["jobs"] == 2


def test_jobs_get_other_numbers_beside_those_of_another_store(ends: Ends) -> None:
    fill(ends.source)
    first, second = ends.target, ends.new_target("more")
    copy_rows(ends.source, first)
    copy_rows(ends.source, second)
    (_, one), (_, other) = read(first), read(second)
    assert [row[0] for row in other["jobs"]] == [7, 8]
    assert [row[6] for row in other["checkpoints"]] == [7, 8]
    assert [row[1:] for row in other["jobs"]] == [row[1:] for row in one["jobs"]]
    assert one["jobs"][0][0] == 3


def test_nothing_is_copied_if_the_copy_would_differ(ends: Ends) -> None:
    fill(ends.source)
    target = ends.target
    with pytest.raises(StateError, match=r"would not have the same rows as .* in the table checkpoints"):
        copy_rows(ends.source, Forgetful(target))
    assert copy_rows(ends.source, target)["jobs"] == 2


@frozen
class Forgetful:
    """``StateRows`` that lose a checkpoint."""

    inner: StateRows

    @property
    def place(self) -> str:
        return self.inner.place

    def refuse_use(self) -> None:
        self.inner.refuse_use()

    @contextmanager
    def writing(self) -> Iterator[WrittenRows]:
        with self.inner.writing() as rows:
            add = rows.add
            rows.add = lambda table, given: add(table, [*given][1 if table.name == "checkpoints" else 0 :])  # type: ignore[method-assign]
            yield rows

    reading = writing


def test_a_file_of_the_first_version_is_migrated_before_it_is_copied(ends: Ends, tmp_path: Path) -> None:
    path, migrated = tmp_path / "first.sqlite", tmp_path / "migrated.sqlite"
    for place in (path, migrated):
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            connection.executescript(VERSION_1 + CONTENT)
    target = ends.target
    assert copy_rows(SQLiteRows(path, "../mixed"), target)["checkpoints"] == 3
    SQLiteFile(migrated, "../mixed").close()
    assert read(target) == read(SQLiteRows(migrated, "../mixed"))


def test_an_empty_row_of_the_store_is_filled(ends: Ends) -> None:
    """Such a row is left by a process that has opened the state and recorded nothing."""
    fill(ends.source)
    target = ends.target
    with target.writing():
        """Nothing but the store."""
    copy_rows(ends.source, target)
    assert read(target) == read(ends.source)
