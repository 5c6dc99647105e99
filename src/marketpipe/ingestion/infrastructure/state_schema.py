"""The tables of state/marketpipe.sqlite, version 3.

Dates are ISO text, moments RFC 3339 in UTC; but ``known_since`` is microseconds since 1970, which hundreds of thousands
of rows are read from more quickly, and NULL in rows of version 1. ``hours`` is the value of a ``SessionHours``,
``minutes`` what ``TradedMinutes`` packs; NULL where nobody has noted them. ``changes`` counts the writes to a store's
checkpoints, and ``change`` says which of them a checkpoint is of; 0 in rows of earlier versions. A ``holder`` is the
name of a ``HolderLock``; ``until`` is microseconds since 1970.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 3
APPLICATION_ID: Final = 0x4D504950  # "MPIP"

STORES: Final = """
CREATE TABLE stores (
    store_id INTEGER PRIMARY KEY,
    location TEXT NOT NULL UNIQUE,
    provider TEXT,
    feed TEXT,
    adjustment TEXT,
    session TEXT,
    changes INTEGER NOT NULL DEFAULT 0
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

SHARING: Final = (LEASES, CLAIMS, CLAIMS_BY_DAY)
TABLES: Final = (STORES, JOBS, CHECKPOINTS, PARTITIONS, *SHARING)
