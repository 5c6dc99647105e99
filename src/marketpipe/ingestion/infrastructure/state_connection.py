from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

from marketpipe.ingestion.infrastructure.state_migration import prepare
from marketpipe.ingestion.infrastructure.state_trouble import MAKE_ROOM
from marketpipe.shared_kernel.domain.errors import StateError

PATIENCE_SECONDS = 30.0


def connect(path: Path, patience_seconds: float = PATIENCE_SECONDS) -> sqlite3.Connection:
    """Ready for use. Where the file can be read and nothing written, as on a full disk, only for reading.

    Raises ``sqlite3.Error``, and ``StateError`` where not all that was recorded is in the file itself.
    """
    with ExitStack() as undo:
        try:
            connection = _open(str(path), patience_seconds)
            undo.callback(connection.close)
            prepare(connection)
        except sqlite3.OperationalError as error:
            if not path.is_file() or not _is_about_writing(error):
                raise
            undo.close()
            connection = _open_for_reading(path)
        undo.pop_all()
        return connection


def is_writable(connection: sqlite3.Connection) -> bool:
    return not connection.execute("PRAGMA query_only").fetchone()[0]


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Taken as unchangeable: SQLite would want to write beside a file in WAL mode, even to read it."""
    left_over = path.with_name(f"{path.name}-wal")
    if left_over.exists() and left_over.stat().st_size:
        raise StateError(f"cannot be read alone, there is more in {left_over.name} beside it; {MAKE_ROOM}")
    connection = _open(f"{path.absolute().as_uri()}?immutable=1", 0.0, uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open(target: str, patience_seconds: float, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(target, timeout=patience_seconds, isolation_level=None, check_same_thread=False, uri=uri)


def _is_about_writing(error: sqlite3.OperationalError) -> bool:
    code = error.sqlite_errorcode
    return code == sqlite3.SQLITE_IOERR_SHMSIZE or code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
