from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from marketpipe.ingestion.infrastructure.locks import HolderLock
from marketpipe.ingestion.infrastructure.sqlite_schema import prepare, transaction
from marketpipe.shared_kernel.domain.errors import StateError, ValidationError

DAMAGED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
NOT_WRITABLE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
)
NO_ROOM_OR_RIGHT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
RECOVER: Final = "'marketpipe recover' builds a new one from the stored files"
UNREADABLE: Final = (ValidationError, UnicodeDecodeError, LookupError, TypeError, ValueError, ArithmeticError)
"""What comes of values that MarketPipe never wrote, such as a date with a flipped bit."""
MAKE_ROOM: Final = "free space or allow writing there, and run the same command again"


def trouble_with(error: Exception) -> str:
    """What is wrong with a state file, and what to do, as the end of a sentence that begins with its path."""
    if isinstance(error, UNREADABLE):
        return f"holds what nobody wrote there: {error}; {RECOVER}, with --force where it can be read in part"
    if is_damage(error):
        return f"cannot be used: {error}; {RECOVER}"
    if _code_of(error) in BUSY:
        return f"is held by another process: {error}; wait for it to end, and try again"
    if _code_of(error) in NOT_WRITABLE or getattr(error, "errno", None) in NO_ROOM_OR_RIGHT:
        return f"cannot be used: {error}; {MAKE_ROOM}"
    return f"cannot be used: {error}"


def is_damage(error: Exception) -> bool:
    """A file that is no database, or no longer one."""
    return isinstance(error, UnicodeDecodeError) or _code_of(error) in DAMAGED


def _code_of(error: Exception) -> int:
    """SQLite's primary code; 0 for an error of the system."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


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


UNKNOWN_STORE = -1


class SQLiteFile:
    """The state file as one store sees it: one connection behind a lock, and our name among those who share the file.

    WAL, so that readers in other processes never wait. A commit outlives ``kill -9``.
    """

    def __init__(self, path: Path, location: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """``location`` tells this store from others in the same file. Raises ``StateError``."""
        self.path, self.holder = path, HolderLock(path)
        self._lock = threading.Lock()
        with self._translated(), ExitStack() as undo:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(path, patience_seconds)
            undo.callback(self._connection.close)
            self._opened = _identity_of(path)
            self.store_id = self._find(location)
            undo.pop_all()

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises ``StateError`` too where the file was set aside: what is written there nobody would read."""
        with self._lock, self._translated(), transaction(self._connection):
            if _identity_of(self.path) != self._opened:
                raise StateError("was moved away or replaced while it was in use; run again")
            yield self._connection

    def dead(self, names: Sequence[str]) -> list[str]:
        """Those of the holders of whom nobody is left."""
        with self._lock, self._translated():
            return [name for name in names if not self.holder.is_alive(name)]

    def our_name(self) -> str:
        with self._lock, self._translated():
            return self.holder.name()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self.holder.close()

    def _find(self, location: str) -> int:
        """A new store is written down; where nothing can be written it is one that nobody knows anything of."""
        find = "SELECT store_id FROM stores WHERE location = ?"
        if (found := self._connection.execute(find, (location,)).fetchone()) is None and is_writable(self._connection):
            self._connection.execute("INSERT OR IGNORE INTO stores (location) VALUES (?)", (location,))
            found = self._connection.execute(find, (location,)).fetchone()
        return int(found[0]) if found else UNKNOWN_STORE

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StateError as error:
            raise StateError(f"the state file {self.path} {error}") from error
        except (sqlite3.Error, OSError, ValidationError, UnicodeDecodeError) as error:
            raise StateError(f"the state file {self.path} {trouble_with(error)}") from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For what is made of values that were found: any may have been damaged. Raises ``StateError``."""
        try:
            yield
        except UNREADABLE as error:
            raise StateError(f"the state file {self.path} {trouble_with(error)}") from error


def _identity_of(path: Path) -> tuple[int, int] | None:
    """None for a state that lies in memory."""
    try:
        look = path.stat()
    except FileNotFoundError:
        return None
    return look.st_dev, look.st_ino
