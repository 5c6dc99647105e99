from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from marketpipe.ingestion.domain.state_condition import StateCondition
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.ingestion.infrastructure.state_file import SQLiteStateFile
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from tests.support.checkpoints import checkpoint

NOW = Timestamp.parse("2025-06-02T12:00:00.5Z")
IDENTITY = DatasetIdentity("alpaca", "iex", "raw")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marketpipe.sqlite"


def claimed(path: Path) -> None:
    state = SQLiteState(path, "data")
    state.claim(IDENTITY, SessionKind.EXTENDED)
    state.close()


def condition(path: Path, location: str = "data") -> StateCondition:
    return SQLiteStateFile(path, location).condition()


def test_a_file_that_is_not_there_is_absent_and_not_made(path: Path) -> None:
    assert condition(path) is StateCondition.ABSENT
    assert not path.exists()


def test_a_file_of_this_store_can_be_used_and_one_of_another_has_no_records_of_it(path: Path) -> None:
    claimed(path)
    assert condition(path) is StateCondition.USABLE
    assert condition(path, "elsewhere") is StateCondition.UNCLAIMED


def test_a_file_that_nobody_claimed_has_no_records(path: Path) -> None:
    path.touch()
    assert condition(path) is StateCondition.UNCLAIMED
    SQLiteState(path, "data").close()
    assert condition(path) is StateCondition.UNCLAIMED


@pytest.mark.parametrize("position", [0, 4096, 8192])
def test_garbage_is_damaged_wherever_it_lies(path: Path, position: int) -> None:
    claimed(path)
    content = bytearray(path.read_bytes())
    content[position : position + 4000] = b"x" * 4000
    path.write_bytes(content)
    assert condition(path) is StateCondition.DAMAGED


def test_a_newer_file_and_another_program_s_are_told_apart(path: Path) -> None:
    claimed(path)
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


def test_all_that_belongs_to_a_file_is_set_aside_with_it(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).write_text(ending)
    aside = Path(SQLiteStateFile(path, "data").set_aside(NOW))
    assert sorted(found.name for found in path.parent.iterdir()) == [
        f"marketpipe.sqlite.20250602T120000.500000Z.bak{ending}" for ending in ("", "-shm", "-wal")
    ]
    assert aside.read_text() == ""


def test_a_damaged_file_names_the_command_that_helps(path: Path) -> None:
    path.write_bytes(b"garbage" * 999)
    with pytest.raises(StateError, match="'marketpipe recover' builds a new one"):
        SQLiteState(path, "data")


def test_a_file_that_is_held_names_no_such_command(path: Path) -> None:
    claimed(path)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateError, match="is held by another process.*try again"):  # noqa: RUF043
        SQLiteState(path, "data", patience_seconds=0.01).claim(
            DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED
        )
    holder.rollback()
    holder.close()


def test_it_is_in_use_while_somebody_ingests_with_it(path: Path) -> None:
    file, reader = SQLiteStateFile(path, "data"), SQLiteState(path, "data")
    before = file.is_in_use()
    state = SQLiteState(path, "data")
    state.claim(IDENTITY, SessionKind.EXTENDED)

    assert (before, file.is_in_use()) == (False, True)
    state.close()
    assert not file.is_in_use()
    reader.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_written_to_a_file_that_was_set_aside_meanwhile(path: Path, is_replaced: bool) -> None:
    state = SQLiteState(path, "data")
    state.claim(IDENTITY, SessionKind.EXTENDED)
    aside = Path(SQLiteStateFile(path, "data").set_aside(NOW))
    if is_replaced:
        SQLiteState(path, "data").close()

    with pytest.raises(StateError, match="was moved away or replaced while it was in use; run again"):
        state.record([checkpoint("AAPL", "2024-01-02")])
    state.close()
    former = SQLiteState(aside, "data")
    assert former.latest_settled() == {}
    former.close()
