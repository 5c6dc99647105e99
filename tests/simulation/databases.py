"""``ModelledDatabases``: real SQLite, whose files a modelled disk names, and whose commits a power loss may take."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tests.simulation.disk.inodes import Inode
from tests.simulation.disk.model import ModelledDisk
from tests.simulation.process import Process
from tests.simulation.real_files import new_folder
from tests.simulation.story import Fault

POLL_SECONDS: Final = 0.02
SMALLEST_SPACE: Final = 4096
"""What a commit needs: one page."""
COMPANIONS: Final = ("-wal", "-shm", "-journal")
NEVER_WAITS: Final = ("PRAGMA journal_mode",)
"""SQLite waits for another writer when a transaction begins, but not when the mode changes."""
CHANGES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER"})


def failed(code: int, words: str) -> sqlite3.OperationalError:
    """Return the error that SQLite would raise."""
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


FULL: Final = sqlite3.SQLITE_FULL, "database or disk is full"
IO_ERROR: Final = sqlite3.SQLITE_IOERR, "disk I/O error"
CANNOT_OPEN: Final = sqlite3.SQLITE_CANTOPEN, "unable to open database file"


class ModelledConnection(sqlite3.Connection):
    """A connection of one process. Each statement is a call; who has to wait for another writer waits in the world."""

    process: Process | None = None
    database: Inode | None = None
    owner: ModelledDatabases
    patience = 5.0
    is_synced = is_immutable = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._carry_out(sql, lambda: super(ModelledConnection, self).execute(sql, *values))

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._carry_out(sql, lambda: super(ModelledConnection, self).executemany(sql, *values))

    def close(self) -> None:
        if self.process is not None:
            self.owner.forget(self)
        super().close()

    def _carry_out(self, sql: str, act: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        if self.process is None or self.database is None:
            return act()
        word = sql.split(None, 1)[0].upper()
        fault = self._called(self.process, word)
        if sql == "PRAGMA busy_timeout":  # the real one is 0: the world waits
            return super().execute("SELECT ?", (int(self.patience * 1000),))
        if sql.startswith("PRAGMA synchronous"):
            self.is_synced = "FULL" in sql or "EXTRA" in sql
        if self.owner.disk.read_only and not self.is_immutable:
            raise failed(*CANNOT_OPEN)  # the log needs files beside the database, even to read
        if word in ("COMMIT", *CHANGES) and self._is_full():
            self._roll_back()
            raise failed(*FULL)
        if word != "COMMIT":
            done = self._waited(self.process, sql, act)
            if word in CHANGES and not self.in_transaction:
                self.owner.committed(self)
            return done
        return self._commit(self.process, fault, act)

    def _called(self, process: Process, word: str) -> Fault | None:
        try:
            return process.call("sql", word)
        except OSError as error:
            self._roll_back()
            raise failed(*(FULL if error.errno == errno.ENOSPC else IO_ERROR)) from error

    def _is_full(self) -> bool:
        space = self.owner.disk.space
        return space is not None and space < SMALLEST_SPACE

    def _commit(self, process: Process, fault: Fault | None, act: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        lost = fault is not None and fault.kind == "lost commit"
        if lost:
            self._roll_back()
        else:
            done = self._waited(process, "COMMIT", act)
            self.owner.committed(self)
        if fault is not None:
            raise failed(*(FULL if fault.detail == "full" else IO_ERROR))
        process.call("sql", "COMMITTED")
        return done

    def _roll_back(self) -> None:
        if self.in_transaction:
            super().execute("ROLLBACK")

    def _waited(self, process: Process, sql: str, act: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        deadline = process.scheduler.now + self.patience
        while True:
            try:
                return act()
            except sqlite3.OperationalError as error:
                is_waited_for = error.sqlite_errorcode == sqlite3.SQLITE_BUSY and not sql.startswith(NEVER_WAITS)
                if not is_waited_for or process.scheduler.now >= deadline:
                    raise
            process.scheduler.sleep(POLL_SECONDS)


class ModelledDatabases:
    """All databases of a modelled disk. The disk knows their names; their contents are real files that only this knows.

    A commit is durable if it was made under ``synchronous = FULL``; a power loss takes those since, or some of them.
    """

    def __init__(self, disk: ModelledDisk) -> None:
        self.disk = disk
        self._folder = new_folder()
        self._open: list[ModelledConnection] = []
        self._images: dict[Inode, list[bytes]] = {}

    def connect(self, process: Process) -> Callable[..., sqlite3.Connection]:
        """Return the ``sqlite3.connect`` of a process."""

        def connect(
            database: str | os.PathLike[str], timeout: float = 5.0, *, uri: bool = False, **options: Any
        ) -> sqlite3.Connection:
            if os.fspath(database) == ":memory:":
                return sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            path, mode = _place_of(os.fspath(database), uri=uri)
            process.call("sql", "OPEN")
            inode = self._inode(process, path, may_create=not uri)
            if "immutable=1" in mode:
                self._checkpointed(inode)
            options |= {"timeout": 0.0, "check_same_thread": False, "factory": ModelledConnection, "uri": True}
            connection = sqlite3.connect(f"{self._file(inode).as_uri()}{mode}", **options)
            connection.process, connection.database, connection.owner = process, inode, self
            connection.patience, connection.is_immutable = timeout, "immutable=1" in mode
            self._open.append(connection)
            return connection

        return connect

    def end(self, process: Process) -> None:
        """Close the connections of a process, as its end does: SQLite rolls back what was not committed."""
        for connection in [each for each in self._open if each.process is process]:
            connection.close()

    def close(self) -> None:
        """Close all connections and remove all real files."""
        for connection in list(self._open):
            connection.close()
        self._folder.cleanup()

    def lose_power(self, draw: Random) -> list[str]:
        """Go back to a state that each database may have then. All processes have to end first. Return it in words."""
        lost = list[str]()
        for inode, images in self._images.items():
            image = images[draw.randrange(len(images))]
            if image != images[-1]:
                lost.append(f"commits of {inode.path() or 'a database without a name'}")
            self._write(inode, image)
            self._images[inode] = [image]
        return lost

    def rot(self, path: str, bit: int) -> None:
        """Flip one bit of a database. Nobody may have it open."""
        inode = self.disk.inode(path)
        assert inode is not None
        content = bytearray(self._checkpointed(inode))
        content[bit // 8 % len(content)] ^= 1 << bit % 8
        self._write(inode, bytes(content))

    def forget(self, connection: ModelledConnection) -> None:
        with suppress(ValueError):
            self._open.remove(connection)

    def committed(self, connection: ModelledConnection) -> None:
        """Keep what a power loss may leave from now on."""
        inode = connection.database
        assert inode is not None
        images = self._images.setdefault(inode, [b""])
        if connection.is_synced:
            images.clear()
            self._make_durable(inode)
        with _empty_has_no_image(images):
            images.append(connection.serialize())
        inode.modified = inode.changed = self.disk.now()

    def _make_durable(self, inode: Inode) -> None:
        """Sync the folders above: SQLite syncs that of its log, and the systems in use sync all above a new file."""
        path = inode.path()
        if path is not None:
            for folder in PurePosixPath(path).parents:
                if (above := self.disk.inode(str(folder))) is not None:
                    self.disk.sync(above)

    def _inode(self, process: Process, path: str, *, may_create: bool) -> Inode:
        inode = self.disk.inode(path)
        if inode is None and may_create and not self.disk.read_only:
            try:
                disk = self.disk.of(process)
                disk.close(disk.open(path, os.O_RDWR | os.O_CREAT, 0o644))
            except OSError as error:
                raise failed(*CANNOT_OPEN) from error
            inode = self.disk.inode(path)
        if inode is None or not inode.is_file:
            raise failed(*CANNOT_OPEN)
        return inode

    def _file(self, inode: Inode) -> Path:
        if inode.backing is None:
            inode.backing = Path(self._folder.name, f"{inode.number}.sqlite")
            inode.backing.write_bytes(inode.content)
        return inode.backing

    def _checkpointed(self, inode: Inode) -> bytes:
        file = self._file(inode)
        connection = sqlite3.connect(file)
        with suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return file.read_bytes()

    def _write(self, inode: Inode, image: bytes) -> None:
        file = self._file(inode)
        for suffix in COMPANIONS:
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        file.write_bytes(image)


@contextmanager
def _empty_has_no_image(images: list[bytes]) -> Iterator[None]:
    """SQLite cannot serialize a database without a page."""
    try:
        yield
    except sqlite3.OperationalError:
        images.append(b"")


def _place_of(database: str, *, uri: bool) -> tuple[str, str]:
    """Return the modelled path, and the query of a URI."""
    if not uri:
        return database, ""
    parts = urlsplit(database)
    return unquote(parts.path), f"?{parts.query}" if parts.query else ""
