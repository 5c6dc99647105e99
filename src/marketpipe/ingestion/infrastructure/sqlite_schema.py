"""The tables of state/marketpipe.sqlite, version 8, and the migrations from earlier versions.

Dates are ISO text and moments RFC 3339 in UTC; but ``known_since`` is microseconds since 1970, which is faster to read
for hundreds of thousands of rows, and NULL in rows of version 1. ``mark`` is a ``VersionMark``, '' if it is unknown.
``hours`` is the value of a ``SessionHours``; ``minutes`` is a packed ``TradedMinutes``, NULL if they were never
recorded; ``figures`` are packed ``DayFigures``, NULL likewise. ``changes`` counts the writes to a store's checkpoints,
``days`` on how many dates the provider gave the same answer,
and ``change`` is the number of the write that a checkpoint came with; 0 in rows of earlier versions. A ``holder`` is
the name of a ``HolderLock``; ``until`` is microseconds since 1970. ``closing_auction`` is in minutes after the close,
NULL if the provider does not declare it. ``answered`` has a bit for each day of a year, the lowest for 1 January. The
table ``claims`` lists the symbol-days of each lease; its name is part of the schema and stays. ``runs`` has the last
run of each kind and state; ``totals`` adds up what runs counted, ``labels`` being a JSON array. ``placed_files`` says
of a store in a bucket where each file is: ``size`` bytes of an ``object`` from ``start`` on; ``folder`` ends with a
slash. ``appended_lines`` has what was appended to such a file whose content is in the catalog, each row what
is in the file from ``start`` on: so an append costs the same however much the file has already.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

from marketpipe.shared_kernel.domain.errors import StateError

VERSION: Final = 8
APPLICATION_ID: Final = 0x4D504950  # "MPIP"

STORES: Final = """
CREATE TABLE stores (
    store_id INTEGER PRIMARY KEY,
    location TEXT NOT NULL UNIQUE,
    provider TEXT,
    feed TEXT,
    adjustment TEXT,
    session TEXT,
    changes INTEGER NOT NULL DEFAULT 0,
    asof TEXT,
    closing_auction INTEGER
) STRICT
"""

JOBS: Final = """
CREATE TABLE jobs (
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
    failed INTEGER NOT NULL DEFAULT 0,
    holder TEXT
) STRICT
"""

CHECKPOINTS: Final = """
CREATE TABLE checkpoints (
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    trading_date TEXT NOT NULL,
    outcome TEXT NOT NULL,
    hours INTEGER NOT NULL,
    answers INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    checked_at TEXT NOT NULL,
    error TEXT,
    change INTEGER NOT NULL DEFAULT 0,
    days INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (store_id, symbol, trading_date)
) STRICT, WITHOUT ROWID
"""

PARTITIONS: Final = """
CREATE TABLE partitions (
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    trading_date TEXT NOT NULL,
    rows INTEGER NOT NULL,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    known_since INTEGER,
    minutes BLOB,
    mark TEXT NOT NULL DEFAULT '',
    figures BLOB,
    PRIMARY KEY (store_id, symbol, trading_date)
) STRICT, WITHOUT ROWID
"""

LEASES: Final = """
CREATE TABLE leases (
    lease_id INTEGER PRIMARY KEY AUTOINCREMENT,
    store_id INTEGER NOT NULL REFERENCES stores,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT
"""

CLAIMS: Final = """
CREATE TABLE claims (
    lease_id INTEGER NOT NULL REFERENCES leases,
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    trading_date TEXT NOT NULL,
    PRIMARY KEY (lease_id, symbol, trading_date)
) STRICT, WITHOUT ROWID
"""

CLAIMS_BY_DAY: Final = "CREATE INDEX claims_by_day ON claims (store_id, symbol, trading_date)"

OFFICIAL_YEARS: Final = """
CREATE TABLE official_years (
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    year INTEGER NOT NULL,
    answered BLOB NOT NULL,
    mark TEXT NOT NULL DEFAULT '',
    sha256 TEXT,
    known_since INTEGER,
    checked_at TEXT NOT NULL,
    PRIMARY KEY (store_id, symbol, year)
) STRICT, WITHOUT ROWID
"""

FILES: Final = """
CREATE TABLE files (
    store_id INTEGER NOT NULL REFERENCES stores,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (store_id, path, sha256)
) STRICT, WITHOUT ROWID
"""

RUNS: Final = """
CREATE TABLE runs (
    store_id INTEGER NOT NULL REFERENCES stores,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (store_id, kind, state)
) STRICT, WITHOUT ROWID
"""

TOTALS: Final = """
CREATE TABLE totals (
    store_id INTEGER NOT NULL REFERENCES stores,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (store_id, name, labels)
) STRICT, WITHOUT ROWID
"""

PLACED_FILES: Final = """
CREATE TABLE placed_files (
    store_id INTEGER NOT NULL REFERENCES stores,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    object TEXT NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    content BLOB,
    PRIMARY KEY (store_id, folder, name)
) STRICT, WITHOUT ROWID
"""

APPENDED_LINES: Final = """
CREATE TABLE appended_lines (
    store_id INTEGER NOT NULL REFERENCES stores,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    start INTEGER NOT NULL,
    lines BLOB NOT NULL,
    modified_ns INTEGER NOT NULL,
    PRIMARY KEY (store_id, folder, name, start)
) STRICT, WITHOUT ROWID
"""

SHARING: Final = (LEASES, CLAIMS, CLAIMS_BY_DAY)
PLACES: Final = (PLACED_FILES, APPENDED_LINES)
TABLES: Final = (STORES, JOBS, CHECKPOINTS, PARTITIONS, OFFICIAL_YEARS, FILES, RUNS, TOTALS, *PLACES, *SHARING)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: Literal["DEFERRED", "IMMEDIATE"] = "IMMEDIATE") -> Iterator[None]:
    """Commit all that is done inside, or nothing if it raises. An immediate one waits while another is writing."""
    try:
        connection.execute(f"BEGIN {kind}")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


NEW: Final = 0

# Written out, and never changed: a migration must not follow the newest tables.
CHECKPOINTS_OF_VERSION_2: Final = """
CREATE TABLE checkpoints (
    store_id INTEGER NOT NULL REFERENCES stores,
    symbol TEXT NOT NULL,
    trading_date TEXT NOT NULL,
    outcome TEXT NOT NULL,
    hours INTEGER NOT NULL,
    answers INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    checked_at TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (store_id, symbol, trading_date)
) STRICT, WITHOUT ROWID
"""

STEPS: Final = {
    NEW: (*TABLES, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {VERSION}"),
    1: (
        "ALTER TABLE stores ADD COLUMN session TEXT",
        # min() of "extended" and "regular": extended if any checkpoint is; NULL without checkpoints.
        "UPDATE stores SET session = (SELECT min(c.session) FROM checkpoints c WHERE c.store_id = stores.store_id)",
        "ALTER TABLE checkpoints RENAME TO former_checkpoints",
        CHECKPOINTS_OF_VERSION_2,
        "INSERT INTO checkpoints "
        "(store_id, symbol, trading_date, outcome, hours, answers, rejected, job_id, checked_at, error) "
        "SELECT store_id, symbol, trading_date, outcome, iif(session = 'regular', 1, 7), 1, rejected, job_id, "
        "checked_at, error FROM former_checkpoints",
        "DROP TABLE former_checkpoints",
        "ALTER TABLE partitions ADD COLUMN known_since INTEGER",
        "ALTER TABLE partitions ADD COLUMN minutes BLOB",
        "PRAGMA user_version = 2",
    ),
    2: (
        "ALTER TABLE stores ADD COLUMN changes INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN holder TEXT",
        "ALTER TABLE checkpoints ADD COLUMN change INTEGER NOT NULL DEFAULT 0",
        *SHARING,
        "PRAGMA user_version = 3",
    ),
    3: (
        "ALTER TABLE partitions ADD COLUMN mark TEXT NOT NULL DEFAULT ''",
        # As storage marks files: size in bytes, then modification time in microseconds, which was the known-since.
        "UPDATE partitions SET mark = bytes || '-' || known_since WHERE known_since IS NOT NULL",
        "PRAGMA user_version = 4",
    ),
    4: (
        OFFICIAL_YEARS,
        FILES,
        "ALTER TABLE partitions ADD COLUMN figures BLOB",
        "ALTER TABLE checkpoints ADD COLUMN days INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE stores ADD COLUMN asof TEXT",
        "ALTER TABLE stores ADD COLUMN closing_auction INTEGER",
        "PRAGMA user_version = 5",
    ),
    5: (RUNS, TOTALS, "PRAGMA user_version = 6"),
    6: (PLACED_FILES, "PRAGMA user_version = 7"),
    7: (APPENDED_LINES, "PRAGMA user_version = 8"),
}
"""For each version the statements that migrate it to a later one, step by step up to the present one."""


def prepare(connection: sqlite3.Connection, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Create the tables in a new file, or migrate a file of an earlier version, in one transaction.

    A newer file, or a database of another program, is refused unchanged. Raises ``StateError``.
    """
    with transaction(connection, "DEFERRED"):
        version = version_of(connection)
    if version != VERSION:
        with transaction(connection):
            # Several processes may find the same old version at the same moment: the later ones find nothing to do.
            while (version := version_of(connection)) != VERSION:
                for statement in STEPS[version]:
                    connection.execute(statement)
    _write_ahead(connection, monotonic)  # it is written into the file: not before it is known to be ours
    connection.execute("PRAGMA synchronous = NORMAL")


def _write_ahead(connection: sqlite3.Connection, monotonic: Callable[[], float]) -> None:
    """Set WAL mode. Raises ``sqlite3.OperationalError`` if others write for longer than the connection's timeout."""
    deadline = monotonic() + _pragma(connection, "busy_timeout") / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
        with transaction(connection):
            """SQLite waits for another writer when a transaction begins, but not when the mode changes."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version, ``NEW`` of an empty file. Raises ``StateError`` for a file that is not to be used."""
    owner, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if not owner and not version and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return NEW
    if owner != APPLICATION_ID:
        raise StateError("is a database of another program; give another state_path")
    if version > VERSION:
        raise StateError(f"has schema version {version}, this MarketPipe knows {VERSION}; install a newer MarketPipe")
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
