from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from marketpipe.ingestion.domain.store_status import StateCondition
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile, explained
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, SessionKind
from tests.support.checkpoints import answer, record

NOW = Timestamp.parse("2025-06-02T12:00:00.5Z")
IDENTITY = DatasetIdentity("alpaca", "iex", "raw")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marketpipe.sqlite"


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("in SQLite's words")
    error.sqlite_errorcode = code
    return error


def bound(path: Path) -> None:
    state = SQLiteState(path, "data")
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)
    state.close()


def condition(path: Path, location: str = "data") -> StateCondition:
    return SQLiteStateFile(path, location).condition()


def test_a_file_that_is_not_there_is_absent_and_not_made(path: Path) -> None:
    assert condition(path) is StateCondition.ABSENT
    assert not path.exists()


def test_a_file_of_this_store_can_be_used_and_one_of_another_has_no_records_of_it(path: Path) -> None:
    bound(path)
    assert condition(path) is StateCondition.USABLE
    assert condition(path, "elsewhere") is StateCondition.UNCLAIMED


def test_asking_whether_a_store_has_records_leaves_no_file_and_makes_none(path: Path) -> None:
    assert not SQLiteStateFile(path, "data").has_store()
    assert not path.exists()
    bound(path)
    before = sorted(path.parent.iterdir())
    assert SQLiteStateFile(path, "data").has_store()
    assert not SQLiteStateFile(path, "elsewhere").has_store()
    assert sorted(path.parent.iterdir()) == before


def test_a_file_without_a_dataset_has_no_records(path: Path) -> None:
    path.touch()
    assert condition(path) is StateCondition.UNCLAIMED
    SQLiteState(path, "data").close()
    assert condition(path) is StateCondition.UNCLAIMED


@pytest.mark.parametrize("position", [0, 4096, 8192])
def test_garbage_is_damaged_at_every_position(path: Path, position: int) -> None:
    bound(path)
    content = bytearray(path.read_bytes())
    content[position : position + 4000] = b"x" * 4000
    path.write_bytes(content)
    assert condition(path) is StateCondition.DAMAGED


def test_a_newer_file_and_one_of_another_program_are_distinguished(path: Path) -> None:
    bound(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert condition(path) is StateCondition.NEWER
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 7")
    connection.close()
    assert condition(path) is StateCondition.FOREIGN


def test_a_folder_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateError, match="cannot be used"):
        condition(path)


def test_all_that_belongs_to_a_state_is_archived_with_it(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).write_text(ending)
    archived = Path(SQLiteStateFile(path, "data").archive(NOW))
    assert sorted(found.name for found in path.parent.iterdir()) == [
        f"marketpipe.sqlite.20250602T120000.500000Z.bak{ending}" for ending in ("", "-shm", "-wal")
    ]
    assert archived.read_text() == ""


def test_a_damaged_file_names_the_command_that_helps(path: Path) -> None:
    path.write_bytes(b"garbage" * 999)
    with pytest.raises(StateError, match="'marketpipe recover' builds a new one"):
        SQLiteState(path, "data")


def test_a_locked_file_names_no_such_command(path: Path) -> None:
    bound(path)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateError, match="is locked by another process.*try again"):  # noqa: RUF043
        SQLiteState(path, "data", timeout_seconds=0.01).bind_dataset(
            DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED
        )
    holder.rollback()
    holder.close()


def test_it_is_in_use_while_a_process_ingests_with_it(path: Path) -> None:
    file, reader = SQLiteStateFile(path, "data"), SQLiteState(path, "data")
    before = file.is_in_use()
    state = SQLiteState(path, "data")
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)

    assert (before, file.is_in_use()) == (False, True)
    state.close()
    assert not file.is_in_use()
    reader.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_written_to_a_state_that_was_archived_meanwhile(path: Path, is_replaced: bool) -> None:
    state = SQLiteState(path, "data")
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)
    archived = Path(SQLiteStateFile(path, "data").archive(NOW))
    if is_replaced:
        SQLiteState(path, "data").close()

    with pytest.raises(StateError, match="was moved away or replaced while it was in use; run again"):
        record(state, [answer("AAPL", "2024-01-02")])
    state.close()
    former = SQLiteState(archived, "data")
    assert former.checkpoints.latest_settled() == {}
    former.close()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("checkpoints", "outcome", "comqlete"),
        ("checkpoints", "trading_date", "2024-13-02"),
        ("checkpoints", "symbol", "../../x"),
        ("checkpoints", "hours", 8),
        ("partitions", "known_since", 2**62),
        ("partitions", "minutes", b"\xff" * 180),
        ("partitions", "figures", b"\xff" * 7),
        ("stores", "session", "night"),
    ],
)
def test_an_invalid_value_is_an_error_that_names_the_file_and_what_to_do(
    path: Path, table: str, column: str, value: object
) -> None:
    state = SQLiteState(path, "data")
    state.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED)
    record(state, [answer("AAPL", "2024-01-02")])
    state.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.close()

    state = SQLiteState(path, "data")
    with pytest.raises(StateError, match=rf"{path} holds values that MarketPipe never wrote: .*marketpipe recover"):
        _ = (
            state.dataset(),
            state.checkpoints.between(Symbol("AAPL"), DISTANT_PAST, DISTANT_FUTURE),
            state.statistics.summaries(),
        )
    state.close()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("checkpoints", "outcome", "comqlete"), ("checkpoints", "hours", 8), ("stores", "session", "night")],
)
def test_such_a_value_met_while_writing_is_an_error_and_nothing_is_written(
    path: Path, table: str, column: str, value: object
) -> None:
    bound(path)
    state = SQLiteState(path, "data")
    record(state, [answer("AAPL", "2024-01-02")])
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        before = list(connection.iterdump())

    with pytest.raises(StateError, match=rf"^the state file {path} holds values that MarketPipe never wrote"):
        _ = (
            state.bind_dataset(IDENTITY, SessionKind.EXTENDED),
            record(state, [answer("AAPL", "2024-01-02", rows=5)]),
        )

    assert list(connection.iterdump()) == before
    connection.close()
    state.close()


def test_recorded_files_without_bars_tell_of_no_usual_volume(path: Path) -> None:
    state = SQLiteState(path, "data")
    record(state, [answer("AAPL", "2024-01-02")])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE partitions SET rows = 0")
    connection.close()

    assert state.statistics.typical_volume() is None
    state.close()


def test_garbage_in_the_text_of_a_schema_is_damage(path: Path) -> None:
    """SQLite repeats them in its message, which Python then cannot read."""
    bound(path)
    content = path.read_bytes()
    assert content.count(b"rejected INTEGER") == 1
    path.write_bytes(content.replace(b"rejected INTEGER", b"rejected\xa0INTEGER"))

    assert condition(path) is StateCondition.DAMAGED
    with pytest.raises(StateError, match="'marketpipe recover' builds a new one"):
        SQLiteState(path, "data")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "state"),
        OSError(errno.EROFS, "Read-only file system", "state"),
        *(sqlite_error(code) for code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)),
    ],
)
def test_missing_space_or_permission_names_what_to_do(error: Exception) -> None:
    assert explained(error).endswith("; free space or allow writing there, and run the same command again")


def test_a_state_whose_file_may_not_be_examined_says_so_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    state = SQLiteState(folder / "marketpipe.sqlite", "data")
    folder.rename(tmp_path / "moved")
    folder.touch()  # a file in the place of the folder
    with pytest.raises(StateError, match="Not a directory"):
        state.was_replaced()
    state.close()
