from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile
from marketpipe.ingestion.infrastructure.sqlite_schema import APPLICATION_ID, NEW, STEPS, VERSION
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record

AAPL = IngestionScope("AAPL", TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05"))


def known_dates(state: SQLiteState) -> list[str]:
    return list(map(str, state.checkpoints.between(Symbol("AAPL"), AAPL.first, AAPL.last)))


def bars_a_day(state: SQLiteState) -> float | None:
    typical = state.statistics.typical_volume()
    return typical.bars_a_day if typical else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "marketpipe.sqlite"


@contextmanager
def another_that_writes(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that has made the tables and writes again before WAL mode is set."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        for statement in ("BEGIN IMMEDIATE", *STEPS[NEW], "COMMIT", "BEGIN IMMEDIATE"):
            other.execute(statement)
        yield other


def foreign_database(path: Path, *statements: str) -> bytes:
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path.read_bytes()


def files_beside(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir())


def test_the_file_and_its_folder_are_made_when_opened(path: Path) -> None:
    SQLiteState(path, "../data").close()

    connection = sqlite3.connect(path)
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert (owner, version, mode) == (APPLICATION_ID, VERSION, "wal")


def test_what_was_recorded_is_there_when_opened_again(path: Path) -> None:
    state = SQLiteState(path, "../data")
    number = state.jobs.open(AAPL, NOW)
    record(state, [answer("AAPL", "2024-01-02")])
    state.close()

    again = SQLiteState(path, "../data")

    assert known_dates(again) == ["2024-01-02"]
    assert [(job.job_id, job.state) for job in again.jobs.latest(10)] == [(number, "running")]
    again.close()


def test_an_empty_file_becomes_a_state_file(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    state = SQLiteState(path, "../data")

    record(state, [answer("AAPL", "2024-01-02")])

    assert known_dates(state) == ["2024-01-02"]
    state.close()


def test_a_database_of_another_program_is_refused_and_not_touched(path: Path) -> None:
    before = foreign_database(path, "CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('mine')")

    with pytest.raises(
        StateError, match=r"marketpipe\.sqlite is a database of another program; give another state_path"
    ):
        SQLiteState(path, "../data")

    assert path.read_bytes() == before
    assert files_beside(path) == ["marketpipe.sqlite"]


def test_an_empty_database_of_another_program_is_refused(path: Path) -> None:
    before = foreign_database(path, "PRAGMA application_id = 252006674")

    with pytest.raises(StateError, match="is a database of another program"):
        SQLiteState(path, "../data")

    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_not_touched(path: Path) -> None:
    newer = (
        f"PRAGMA application_id = {APPLICATION_ID}",
        f"PRAGMA user_version = {VERSION + 1}",
        "CREATE TABLE jobs (x)",
    )
    before = foreign_database(path, *newer)

    with pytest.raises(StateError, match=f"has schema version {VERSION + 1}, this MarketPipe knows {VERSION}"):
        SQLiteState(path, "../data")

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"symbol,close\n" * 200)

    with pytest.raises(StateError, match="cannot be used: file is not a database"):
        SQLiteState(path, "../data")

    assert path.read_bytes() == b"symbol,close\n" * 200


def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(StateError, match=f"the state file {path} cannot be used"):
        SQLiteState(path, "../data")


def test_a_file_in_place_of_the_folder_is_refused(path: Path) -> None:
    path.parent.touch()

    with pytest.raises(StateError, match=f"the state file {path} cannot be used"):
        SQLiteState(path, "../data")


def test_several_stores_in_one_file_do_not_mix(path: Path) -> None:
    one, other = SQLiteState(path, "../data"), SQLiteState(path, "../elsewhere")
    first_job = one.jobs.open(AAPL, NOW)
    record(one, [answer("AAPL", "2024-01-02", rows=100)])

    one.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED)

    second_job = other.jobs.open(AAPL, NOW)
    record(other, [answer("AAPL", "2024-01-03", rows=200)])
    other.bind_dataset(DatasetIdentity("synthetic", "iex", "raw"), SessionKind.REGULAR)

    for state, number, date, rows in ((one, first_job, "2024-01-02", 100), (other, second_job, "2024-01-03", 200)):
        assert known_dates(state) == [date]
        assert bars_a_day(state) == rows
        assert [(summary.complete, summary.bars) for summary in state.statistics.summaries()] == [(1, rows)]
        assert [(job.job_id, job.state) for job in state.jobs.latest(10)] == [(number, "running")]
        state.close()


def test_binding_another_dataset_or_session_names_the_file_and_what_to_do(path: Path) -> None:
    state = SQLiteState(path, "../data")
    state.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED)

    begin, advice = f"^{path} has checkpoints of", "Give another output_path, or"
    with pytest.raises(DatasetMismatchError, match=f"{begin} provider alpaca, .* {advice} another state_path"):
        state.bind_dataset(DatasetIdentity("alpaca", "sip", "raw"), SessionKind.EXTENDED)
    with pytest.raises(DatasetMismatchError, match=f"{begin} session extended; .* {advice} request session extended"):
        state.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.REGULAR)

    state.close()


def test_a_bound_dataset_is_known_when_opened_again(path: Path) -> None:
    identity = DatasetIdentity("alpaca", "iex", "raw")
    state = SQLiteState(path, "../data")
    state.bind_dataset(identity, SessionKind.REGULAR)
    state.close()

    again = SQLiteState(path, "../data")

    assert again.dataset() == (identity, SessionKind.REGULAR)
    again.close()


def test_stores_that_open_a_new_file_at_the_same_moment_all_succeed(path: Path) -> None:
    start, failures = threading.Barrier(4), list[str]()

    def open_and_record(location: str) -> None:
        start.wait(60)
        try:
            state = SQLiteState(path, location)
            record(state, [answer("AAPL", "2024-01-02")])
            state.close()
        except StateError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=open_and_record, args=(f"../data{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []


def test_a_store_that_opens_a_new_file_waits_while_another_writes_there(path: Path) -> None:
    with another_that_writes(path) as other:
        end = threading.Timer(0.1, other.execute, ["COMMIT"])
        end.start()

        state = SQLiteState(path, "../data")
        end.join()

    record(state, [answer("AAPL", "2024-01-02")])
    state.close()


def test_a_store_that_opens_a_new_file_does_not_wait_for_ever(path: Path) -> None:
    with another_that_writes(path), pytest.raises(StateError, match="is locked by another process"):
        SQLiteFile(path, "../data", timeout_seconds=0.05)


@pytest.mark.parametrize(
    ("broken", "error"),
    [({"rows": "many"}, StateError), ({"rows": 2**70}, OverflowError), ({"rejected": "many"}, StateError)],
    ids=["file row refused", "number too large", "checkpoint row refused"],
)
def test_a_row_that_is_refused_takes_the_whole_transaction_with_it(
    path: Path, broken: dict[str, Any], error: type[Exception]
) -> None:
    state = SQLiteState(path, "../data")

    with pytest.raises(error):
        record(state, [answer("AAPL", "2024-01-02"), answer("AAPL", "2024-01-03", **broken)])

    assert known_dates(state) == []
    assert bars_a_day(state) is None
    record(state, [answer("AAPL", "2024-01-04")])
    assert known_dates(state) == ["2024-01-04"]
    state.close()


def test_a_keyboard_interrupt_within_a_transaction_undoes_it_and_no_more(path: Path) -> None:
    state = SQLiteState(path, "../data")

    with pytest.raises(KeyboardInterrupt):
        record(state, [answer("AAPL", "2024-01-02"), answer("AAPL", "2024-01-03", rows=_ControlC(1))])

    assert known_dates(state) == []
    assert state.jobs.open(AAPL, NOW) == 1
    state.close()


def test_another_process_may_read_while_this_one_writes(path: Path) -> None:
    writer, reader = SQLiteState(path, "../data"), SQLiteState(path, "../data")
    seen: list[Sequence[str]] = []

    class _Reading(int):
        def __conform__(self, _: object) -> int:
            seen.append(known_dates(reader))
            return int(self)

    record(writer, [answer("AAPL", "2024-01-02", rows=_Reading(390))])

    assert seen == [[]]
    assert known_dates(reader) == ["2024-01-02"]
    writer.close()
    reader.close()


class _ControlC(int):
    """SQLite asks a value for its form in the midst of a transaction."""

    def __conform__(self, _: object) -> int:
        raise KeyboardInterrupt
