"""A state file that the first version of MarketPipe has left: everything in it is still there afterwards."""

from __future__ import annotations

import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.store_status import JobRecord, SymbolSummary
from marketpipe.ingestion.infrastructure.sqlite_schema import STEPS, VERSION
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, PlacedFile
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, DatasetIdentity, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.storage.infrastructure.day_versions import file_mark
from tests.support.checkpoints import CHECKED_AT, answer, record
from tests.support.child_processes import LONGEST_SECONDS, run, start

VERSION_1 = """
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE IF NOT EXISTS stores (
    store_id INTEGER PRIMARY KEY,
    location TEXT NOT NULL UNIQUE,
    provider TEXT,
    feed TEXT,
    adjustment TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    store_id INTEGER NOT NULL REFERENCES stores,
    state TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    symbols INTEGER NOT NULL,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    session TEXT NOT NULL,
    planned INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    trading_date TEXT NOT NULL,
    outcome TEXT NOT NULL,
    session TEXT NOT NULL,
    rejected INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    checked_at TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (store_id, symbol, trading_date)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partitions (
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    trading_date TEXT NOT NULL,
    rows INTEGER NOT NULL,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (store_id, symbol, trading_date)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 1297107280;
PRAGMA user_version = 1;
COMMIT;
"""

CONTENT = """
INSERT INTO stores VALUES
    (1, '../mixed', 'alpaca', 'iex', 'raw'),
    (2, '../regular', 'alpaca', 'sip', 'raw'),
    (3, '../claimed', 'alpaca', 'iex', 'all'),
    (4, '../unclaimed', NULL, NULL, NULL);
INSERT INTO jobs VALUES
    (7, 1, 'failed', '2025-06-02T11:00:00Z', '2025-06-02T12:00:00Z',
     1, '2024-01-02', '2024-01-05', 'extended', 4, 3, 1);
INSERT INTO checkpoints VALUES
    (1, 'AAPL', '2024-01-02', 'complete', 'regular', 2, 7, '2025-06-02T12:00:00Z', NULL),
    (1, 'AAPL', '2024-01-03', 'empty', 'extended', 0, 7, '2025-06-02T12:00:00Z', NULL),
    (1, 'AAPL', '2024-01-04', 'failed', 'extended', 0, 7, '2025-06-02T12:00:00Z', 'no'),
    (2, 'MSFT', '2024-01-02', 'partial', 'regular', 0, 8, '2025-06-02T12:00:00Z', NULL),
    (4, 'MSFT', '2024-01-02', 'empty', 'extended', 0, 9, '2025-06-02T12:00:00Z', NULL);
INSERT INTO partitions VALUES
    (1, 'AAPL', '2024-01-02', 390, '2024-01-02T14:30:00Z', '2024-01-02T20:59:00Z', 5000, 'abab'),
    (2, 'MSFT', '2024-01-02', 100, '2024-01-02T14:30:00Z', '2024-01-02T20:59:00Z', 3000, 'cdcd');
"""

FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05")
THIRD, FOURTH = FIRST.plus_days(1), FIRST.plus_days(2)
AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
LAYOUT = "SELECT m.name, c.* FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type = 'table' ORDER BY 1, 2"

OPEN = "import sys, pathlib; from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState as S; "
OPEN_AND_CLOSE = OPEN + "S(pathlib.Path(sys.argv[1]), '../mixed').close()"
DIE_BEFORE = """
import os, signal, sqlite3, sys
from marketpipe.ingestion.infrastructure.sqlite_schema import prepare
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.set_trace_callback(lambda sql: sql.startswith(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL))
prepare(connection)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "marketpipe.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(VERSION_1 + CONTENT)
    connection.close()
    return path


def asked(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_what_was_known_of_every_day_is_still_known(path: Path) -> None:
    state = SQLiteState(path, "../mixed")

    file = RecordedVersion(NO_MARK, None, "abab")
    assert dict(state.checkpoints.between(AAPL, FIRST, LAST)) == {
        FIRST: IngestionCheckpoint(Outcome.COMPLETE, SessionHours.REGULAR, 1, 2, None, 390, file),
        THIRD: IngestionCheckpoint(Outcome.EMPTY, SessionHours.EXTENDED),
        FOURTH: IngestionCheckpoint(Outcome.FAILED, SessionHours.EXTENDED, error="no"),
    }
    state.close()


def test_summaries_and_jobs_are_still_known(path: Path) -> None:
    state = SQLiteState(path, "../mixed")

    started, finished = "2025-06-02T11:00:00Z", "2025-06-02T12:00:00Z"
    assert list(state.statistics.summaries()) == [SymbolSummary(AAPL, FIRST, FOURTH, 1, 1, 0, 1, 390, 2, 5000)]
    assert list(state.jobs.latest(10)) == [JobRecord(7, "failed", started, finished, 1, FIRST, LAST, 4, 3, 1)]
    state.close()


def test_a_store_is_of_the_extended_session_where_any_checkpoint_is(path: Path) -> None:
    datasets = {}
    for location in ("../mixed", "../regular", "../claimed", "../unclaimed", "../new"):
        state = SQLiteState(path, location)
        datasets[location] = state.dataset()
        state.close()

    assert datasets == {
        "../mixed": (DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED),
        "../regular": (DatasetIdentity("alpaca", "sip", "raw"), SessionKind.REGULAR),
        "../claimed": None,
        "../unclaimed": None,
        "../new": None,
    }


@pytest.mark.parametrize("kind", SessionKind)
def test_a_store_that_was_bound_without_checkpoints_keeps_its_dataset_and_takes_any_session(
    path: Path, kind: SessionKind
) -> None:
    identity = DatasetIdentity("alpaca", "iex", "all")
    state = SQLiteState(path, "../claimed")

    with pytest.raises(DatasetMismatchError):
        state.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), kind)
    state.bind_dataset(identity, kind)

    assert state.dataset() == (identity, kind)
    state.close()


def test_checkpoints_of_a_store_without_a_dataset_keep_their_session(path: Path) -> None:
    state = SQLiteState(path, "../unclaimed")

    with pytest.raises(DatasetMismatchError, match="session extended"):
        state.bind_dataset(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.REGULAR)

    state.close()


def test_the_same_bytes_recorded_again_say_since_when_they_are_known(path: Path) -> None:
    state = SQLiteState(path, "../mixed")

    record(state, [answer("AAPL", "2024-01-02", sha="abab")])

    found = state.checkpoints.between(AAPL, FIRST, FIRST)[FIRST]
    assert (found.answers, found.version) == (2, RecordedVersion("a mark", CHECKED_AT, "abab"))
    state.close()


def test_the_tables_become_those_of_a_new_file(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite"
    for file in (path, new):
        SQLiteState(file, "../data").close()

    assert asked(path, LAYOUT) == asked(new, LAYOUT)
    assert asked(path, "PRAGMA user_version") == asked(new, "PRAGMA user_version") == [(VERSION,)]
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_migrated_file_is_not_migrated_again(path: Path) -> None:
    SQLiteState(path, "../mixed").close()
    before = path.read_bytes()

    SQLiteState(path, "../mixed").close()

    assert path.read_bytes() == before


def _in_threads(path: Path) -> list[str]:
    start, failures = threading.Barrier(4), list[str]()

    def open_and_close() -> None:
        start.wait(60)
        try:
            SQLiteState(path, "../mixed").close()
        except StateError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failures


def _in_processes(path: Path) -> list[str]:
    command = [sys.executable, "-c", OPEN_AND_CLOSE, str(path)]
    opened = [start(command) for _ in range(3)]
    errors = [process.communicate(timeout=LONGEST_SECONDS)[1] for process in opened]
    return [error for error in errors if error]


@pytest.mark.parametrize("open_at_once", [_in_threads, _in_processes])
def test_several_may_migrate_at_the_same_moment(path: Path, open_at_once: Callable[[Path], list[str]]) -> None:
    assert open_at_once(path) == []

    state = SQLiteState(path, "../mixed")
    assert len(state.checkpoints.between(AAPL, FIRST, LAST)) == 3
    state.close()


def test_processes_that_find_a_running_migration_wait_for_it(path: Path) -> None:
    slow, begun = sqlite3.connect(path, isolation_level=None, check_same_thread=False), threading.Event()
    slow.execute("BEGIN IMMEDIATE")
    found: list[int] = []

    def open_and_look() -> None:
        begun.set()
        state = SQLiteState(path, "../mixed")
        found.append(len(state.checkpoints.between(AAPL, FIRST, LAST)))
        state.close()

    waiting = threading.Thread(target=open_and_look)
    waiting.start()
    begun.wait(60)
    waiting.join(0.2)
    assert waiting.is_alive()
    slow.execute("COMMIT")
    slow.close()
    waiting.join(60)

    assert found == [3]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stores",
        "DROP TABLE",
        "PRAGMA user_version = 2",
        "ALTER TABLE jobs",
        "PRAGMA user_version = 3",
        "UPDATE partitions",
    ],
)
def test_a_process_that_is_killed_while_it_migrates_leaves_version_1_as_it_was(path: Path, statement: str) -> None:
    before = asked(path, LAYOUT)

    command = [sys.executable, "-c", DIE_BEFORE, str(path), statement]
    killed = run(command)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert asked(path, "PRAGMA user_version") == [(1,)]
    assert asked(path, LAYOUT) == before
    state = SQLiteState(path, "../regular")
    assert len(state.checkpoints.between(MSFT, FIRST, LAST)) == 1
    state.close()


def test_a_file_of_version_9_is_refused_and_not_touched(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StateError, match="has schema version 9, this MarketPipe knows 8; install a newer MarketPipe"):
        SQLiteState(path, "../mixed")

    assert path.read_bytes() == before


def test_a_file_of_version_2_gets_what_is_new_and_keeps_the_rest(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in STEPS[1]:
        connection.execute(statement)
    connection.close()
    assert asked(path, "PRAGMA user_version") == [(2,)]
    checkpoints = asked(path, "SELECT * FROM checkpoints")
    SQLiteState(new := path.with_name("new.sqlite"), "../data").close()

    state = SQLiteState(path, "../mixed")
    position = state.leases.position()
    record(state, [answer("AAPL", "2024-01-05")])
    state.close()

    assert asked(path, LAYOUT) == asked(new, LAYOUT)
    assert [row[:-2] for row in asked(path, "SELECT * FROM checkpoints WHERE change = 0 AND days = 1")] == checkpoints
    assert position == 0


def test_versions_of_version_3_get_the_marks_that_their_files_have(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for version in (1, 2):
        for statement in STEPS[version]:
            connection.execute(statement)
    connection.execute("UPDATE partitions SET known_since = 1748865600123456 WHERE symbol = 'MSFT'")
    connection.close()
    assert asked(path, "PRAGMA user_version") == [(3,)]

    SQLiteState(path, "../mixed").close()

    assert asked(path, "SELECT symbol, mark FROM partitions ORDER BY 1") == [
        ("AAPL", NO_MARK),
        ("MSFT", file_mark(3000, 1_748_865_600_123_456_000)),
    ]


def test_a_file_of_version_7_keeps_its_placed_files_and_takes_lines(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for version in range(1, 7):
        for statement in STEPS[version]:
            connection.execute(statement)
    row = (1, "revisions/", "known_since.csv", "", 0, 4, 7, b"one\n")
    connection.execute("INSERT INTO placed_files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
    assert asked(path, "PRAGMA user_version") == [(7,)]

    state = SQLiteState(path, "../mixed")
    assert state.file_catalog.find("revisions/known_since.csv") == PlacedFile.inline(
        "revisions/known_since.csv", b"one\n", 7
    )
    lines = AppendedLines("revisions/known_since.csv", b"two\n", b"", 8)
    state.file_catalog.change(CatalogChange(appended=[lines]))
    assert state.file_catalog.find("revisions/known_since.csv") == PlacedFile.inline(
        "revisions/known_since.csv", b"one\ntwo\n", 8
    )
    state.close()
