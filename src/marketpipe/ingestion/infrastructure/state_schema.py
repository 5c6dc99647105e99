"""The tables of state/marketpipe.sqlite, version 1. Dates are ISO text, moments RFC 3339 in UTC."""

from __future__ import annotations

import sqlite3
from typing import Final

from marketpipe.shared_kernel.domain.errors import StateError

VERSION: Final = 1
APPLICATION_ID: Final = 0x4D504950  # "MPIP"

TABLES: Final = """
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
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Makes the tables in a new file; refuses a file that is newer, or somebody else's. Raises ``StateError``."""
    if _is_new(connection):
        _create(connection)
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StateError("is a database of another program; give another state_path")
    if (version := _pragma(connection, "user_version")) > VERSION:
        raise StateError(f"has schema version {version}, this MarketPipe knows {VERSION}; install a newer MarketPipe")
    connection.execute("PRAGMA journal_mode = WAL")  # written into the file: not before it is known to be ours
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_new(connection: sqlite3.Connection) -> bool:
    marked = _pragma(connection, "user_version") or _pragma(connection, "application_id")
    return not marked and not connection.execute("SELECT 1 FROM sqlite_master").fetchone()


def _create(connection: sqlite3.Connection) -> None:
    """Several may find the file new at the same moment; the first makes the tables, the others find them made."""
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE; {TABLES} {pragmas} COMMIT;")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
