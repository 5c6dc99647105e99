from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from marketpipe.ingestion.infrastructure.holder_lock import HolderLock
from marketpipe.ingestion.infrastructure.sqlite_transaction import transaction
from marketpipe.ingestion.infrastructure.state_connection import PATIENCE_SECONDS, connect, is_writable
from marketpipe.ingestion.infrastructure.state_trouble import UNREADABLE, trouble_with
from marketpipe.shared_kernel.domain.errors import StateError, ValidationError

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
