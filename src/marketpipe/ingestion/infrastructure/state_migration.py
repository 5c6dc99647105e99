from __future__ import annotations

import sqlite3
from typing import Final

from marketpipe.ingestion.infrastructure.sqlite_transaction import transaction
from marketpipe.ingestion.infrastructure.state_schema import APPLICATION_ID, SHARING, TABLES, VERSION
from marketpipe.shared_kernel.domain.errors import StateError

NEW: Final = 0

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
        # The least of "extended" and "regular": extended where any checkpoint is; NULL where there is none.
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
}
"""What makes a later version of each earlier one: step by step the present one."""


def prepare(connection: sqlite3.Connection) -> None:
    """Makes the tables in a new file, and what is missing in one of an earlier version, in one transaction.

    Refuses a file that is newer, or somebody else's, without touching it. Raises ``StateError``.
    """
    with transaction(connection, "DEFERRED"):
        version = _version(connection)
    if version != VERSION:
        with transaction(connection):
            _bring_up_to_date(connection)
    connection.execute("PRAGMA journal_mode = WAL")  # written into the file: not before it is known to be ours
    connection.execute("PRAGMA synchronous = NORMAL")


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Several may find the same old version at the same moment; those who come later find nothing left to do."""
    while (version := _version(connection)) != VERSION:
        for statement in STEPS[version]:
            connection.execute(statement)


def _version(connection: sqlite3.Connection) -> int:
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
