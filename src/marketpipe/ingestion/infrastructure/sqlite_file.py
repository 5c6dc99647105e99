"""The state file: one SQLite connection for one store, and every error of SQLite translated here, once.

A forked child must not use, and not even close, the connection of its parent: SQLite's locks belong to a process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakSet

from marketpipe.ingestion.domain.store_status import StateCondition
from marketpipe.ingestion.infrastructure.file_systems import refuse_network
from marketpipe.ingestion.infrastructure.locks import HolderLock
from marketpipe.ingestion.infrastructure.sql.database import Connection
from marketpipe.ingestion.infrastructure.sqlite_schema import APPLICATION_ID, VERSION, prepare, transaction, version_of
from marketpipe.shared_kernel.domain.errors import StateError, ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.machine.disk import exists, is_file, make_folders
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

T = TypeVar("T")
TIMEOUT_SECONDS: Final = 30.0
"""How long a writer waits for another process that is writing."""
INSPECTION_TIMEOUT_SECONDS: Final = 5.0
FIND_STORE: Final = "SELECT store_id FROM stores WHERE location = ?"
UNKNOWN_STORE: Final = -1
"""The store_id of a store that is not in a read-only state file: no row has it."""
IN_MEMORY: Final = ":memory:"
COMPANIONS: Final = ("", "-wal", "-shm")
"""The suffixes of the files that SQLite keeps beside a database, and of the database itself."""

DAMAGED: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
NOT_WRITABLE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
)
NO_SPACE_OR_PERMISSION: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
INVALID_VALUES: Final = (ValidationError, UnicodeDecodeError, LookupError, TypeError, ValueError, ArithmeticError)
"""Raised while parsing values that MarketPipe never wrote, such as a date with a flipped bit."""
RECOVER: Final = "'marketpipe recover' builds a new one from the stored files"
FREE_SPACE: Final = "free space or allow writing there, and run the same command again"


class _Together(ExitStack):
    """What ends with the transaction of one thread."""

    is_begun = False


class SQLiteFile:
    """The state file as one store uses it: one connection behind a lock, and the name under which it holds leases.

    It is in WAL mode, so that readers in other processes never wait. A commit survives ``kill -9``.
    """

    def __init__(
        self,
        path: Path,
        location: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
        machine: Machine = HERE,
    ) -> None:
        """``location`` tells this store from other stores in the same file.

        Raises ``StateError``, and ``ConfigurationError`` for a file on a file system of a network.
        """
        is_in_memory = str(path) == IN_MEMORY
        if not is_in_memory:
            refuse_network(path, machine.processes)
        self.path, self.holder, self._machine = path, HolderLock(path, machine), machine
        self._lock, self._process = machine.threads.reentrant_lock(), os.getpid()
        self._together = threading.local()
        with _translated(path), ExitStack() as undo:
            if not is_in_memory:
                make_folders(machine.disk, path.parent)
                _create(path, machine)
            self._connection = connect(path, timeout_seconds, machine)
            undo.callback(self._connection.close)
            self._opened = _identity_of(path, machine)
            self.store_id = self._find(location)
            undo.pop_all()
        _OPEN.add(self)

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._used():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Write in one transaction, and commit at the end; a ``durable`` commit survives a power failure too.

        Raises ``StateError`` also if the file was archived meanwhile: what is written there is never read again.
        """
        with self._used():
            if (begun := self._begun_together()) is not None:
                if not begun.is_begun:
                    self._begin(begun)
                yield self._connection
                return
            with self._synced() if durable else nullcontext(), transaction(self._connection):
                self._refuse_another()
                yield self._connection

    def one_at_a_time(self, connection: Connection) -> None:
        """Of a file every transaction is the only one that writes."""

    def carry_out(self, write: Callable[[sqlite3.Connection], T]) -> T:
        with self.transaction() as connection:
            return write(connection)

    def each(
        self, connection: Connection, statement: str, values: Sequence[Sequence[Any]]
    ) -> list[list[tuple[Any, ...]]]:
        return [connection.execute(statement, some).fetchall() for some in values]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all that this thread writes inside be one durable transaction. It begins with the first write: whatever
        comes before keeps no other thread waiting.
        """
        with _translated(self.path):
            self._refuse_fork()
        if self._begun_together() is not None:
            yield
            return
        # What is done inside has its own errors, which are not those of the file.
        with _sqlite_translated(self.path), _Together() as begun:
            self._together.begun = begun
            try:
                yield
            finally:
                self._together.begun = None

    def _begun_together(self) -> _Together | None:
        begun: _Together | None = getattr(self._together, "begun", None)
        return begun

    def _begin(self, begun: _Together) -> None:
        begun.is_begun = True
        begun.enter_context(self._lock)
        begun.enter_context(self._synced())
        begun.enter_context(transaction(self._connection))
        self._refuse_another()

    def _refuse_another(self) -> None:
        if self._is_another():
            raise StateError("was moved away or replaced while it was in use; run again")

    def version(self) -> tuple[int, int]:
        """Return what changes whenever this connection, or another one, writes; another connection has other values."""
        with self._used():
            ((others,),) = self._connection.execute("PRAGMA data_version").fetchall()
            return int(others), self._connection.total_changes

    def was_replaced(self) -> bool:
        """Return whether there is another file of this name now, or none. Raises ``StateError``."""
        with _translated(self.path):
            return self._is_another()

    def _is_another(self) -> bool:
        return _identity_of(self.path, self._machine) != self._opened

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Let one thread at a time use the connection. Raises ``StateError`` in a forked child, and for its errors."""
        with _translated(self.path):
            self._refuse_fork()
            with self._lock:
                yield

    def _refuse_fork(self) -> None:
        if os.getpid() != self._process:
            raise StateError(
                f"was opened by process {self._process}, from which this one was forked: a fork has no part in "
                "what its parent does. Make a new Pipeline in each process"
            )

    @contextmanager
    def _synced(self) -> Iterator[None]:
        self._connection.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def rows(self, sql: str, *values: object) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query whose first parameter is the store.

        Raises ``StateError`` also for what parsing them inside raises: any value of a row may be damaged.
        """
        found = self.query(sql, (self.store_id, *values))
        try:
            yield found
        except INVALID_VALUES as error:
            raise StateError(f"the state file {self.path} {explained(error)}") from error

    def holder_name(self) -> str:
        """Return this process's name in the file; from the first call on other processes see that it lives."""
        with self._used():
            return self.holder.name()

    def dead(self, names: Sequence[str]) -> list[str]:
        """Return those of the holders whose process has ended."""
        with self._used():
            return [name for name in names if not self.holder.is_alive(name)]

    def close(self) -> None:
        """Close the connection, then release the holder's lock: while it writes, others must see that it lives.

        Does nothing in a forked child: both are the parent's.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            try:
                self._connection.close()
            finally:
                self.holder.close()

    def _find(self, location: str) -> int:
        """Return the store's id, inserted if the store is new; ``UNKNOWN_STORE`` if the file cannot be written."""
        found = self._connection.execute(FIND_STORE, (location,)).fetchone()
        if found is None and not self._connection.execute("PRAGMA query_only").fetchone()[0]:
            self._connection.execute("INSERT OR IGNORE INTO stores (location) VALUES (?)", (location,))
            found = self._connection.execute(FIND_STORE, (location,)).fetchone()
        return int(found[0]) if found else UNKNOWN_STORE


_OPEN: Final = WeakSet[SQLiteFile]()


def _leave_to_the_parent() -> None:
    """Keep inherited connections from being closed when this child ends, by a reference that is never given back."""
    for file in list(_OPEN):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(file._connection))


os.register_at_fork(after_in_child=_leave_to_the_parent)


class SQLiteStateFile:
    """``StoredState``: inspects a state file without creating it and without migrating it."""

    def __init__(self, path: Path, location: str, machine: Machine = HERE) -> None:
        refuse_network(path, machine.processes)
        self._path, self._location, self._machine = path, location, machine

    def condition(self) -> StateCondition:
        if not state_exists(self._path, self._machine):
            return StateCondition.ABSENT
        with _translated(self._path):
            try:
                with closing(self._machine.connect(self._path, timeout=INSPECTION_TIMEOUT_SECONDS)) as connection:
                    return self._condition_of(connection)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if is_damage(error):
                    return StateCondition.DAMAGED
                raise

    def has_store(self) -> bool:
        """Return whether this store has records there; False also for a file that cannot be read.

        Leaves no file: a connection that may only read would not remove what SQLite makes beside the database.
        """
        target = f"{self._path.absolute().as_uri()}?mode=rw"
        try:
            if not is_file(self._machine.disk, self._path):
                return False
            with closing(self._machine.connect(target, uri=True)) as connection:
                return bool(connection.execute(FIND_STORE, (self._location,)).fetchone())
        except (sqlite3.Error, OSError):
            return False

    def is_in_use(self) -> bool:
        with _translated(self._path):
            return HolderLock(self._path, self._machine).others()

    def archive(self, now: Timestamp) -> str:
        moment = f"{now.moment:%Y%m%dT%H%M%S.%fZ}"
        archived = self._path.with_name(f"{self._path.name}.{moment}.bak")
        with _translated(self._path):
            for companion in COMPANIONS:
                part = self._path.with_name(self._path.name + companion)
                if exists(self._machine.disk, part):
                    self._machine.disk.replace(part, archived.with_name(archived.name + companion))
        return str(archived)

    def _condition_of(self, connection: sqlite3.Connection) -> StateCondition:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            return StateCondition.UNCLAIMED
        if owner != APPLICATION_ID:
            return StateCondition.FOREIGN
        if version > VERSION:
            return StateCondition.NEWER
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            return StateCondition.DAMAGED
        store = connection.execute("SELECT provider FROM stores WHERE location = ?", (self._location,)).fetchone()
        return StateCondition.USABLE if store and store[0] is not None else StateCondition.UNCLAIMED


def state_exists(path: Path, machine: Machine = HERE) -> bool:
    """Return whether there is a state file. Raises ``StateError`` if its folder may not be read."""
    with _translated(path):
        try:
            machine.disk.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except StateError as error:
        raise StateError(f"the state file {path} {error}") from error
    except (sqlite3.Error, OSError, ValidationError, UnicodeDecodeError) as error:
        raise StateError(f"the state file {path} {explained(error)}") from error


@contextmanager
def _sqlite_translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(f"the state file {path} {explained(error)}") from error


def explained(error: Exception) -> str:
    """Return what is wrong with a state file and what to do, as the end of a sentence that begins with its path."""
    if isinstance(error, INVALID_VALUES):
        return f"holds values that MarketPipe never wrote: {error}; {RECOVER}, with --force if part of it can be read"
    if is_damage(error):
        return f"cannot be used: {error}; {RECOVER}"
    if _code_of(error) in BUSY:
        return f"is locked by another process: {error}; wait for that process to end, and try again"
    if _code_of(error) in NOT_WRITABLE or getattr(error, "errno", None) in NO_SPACE_OR_PERMISSION:
        return f"cannot be used: {error}; {FREE_SPACE}"
    return f"cannot be used: {error}"


def is_damage(error: Exception) -> bool:
    """Whether the file is no database, or no longer one."""
    return isinstance(error, UnicodeDecodeError) or _code_of(error) in DAMAGED


def _create(path: Path, machine: Machine) -> None:
    """Create the file with the permissions that the umask allows: SQLite lets only its owner write.

    SQLite gives the files that it makes beside it the same permissions. A folder that may not be written is left to
    the attempt to open the file, which explains it.
    """
    with suppress(OSError):
        machine.disk.close(machine.disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))


def connect(path: Path, timeout_seconds: float = TIMEOUT_SECONDS, machine: Machine = HERE) -> sqlite3.Connection:
    """Open and migrate the file; read-only if it can be read but not written, as on a full disk.

    A file of an earlier version that cannot be written is copied into memory, and the copy is migrated.
    Raises ``sqlite3.Error``, and ``StateError`` if committed rows are still outside the file itself.
    """
    with ExitStack() as undo:
        try:
            connection = _open(machine, str(path), timeout_seconds)
            undo.callback(connection.close)
            prepare(connection, machine.monotonic)
        except sqlite3.OperationalError as error:
            if not is_file(machine.disk, path) or not _is_about_writing(error):
                raise
            undo.close()
            connection = _open_for_reading(path, machine)
        undo.pop_all()
        return connection


def _open_for_reading(path: Path, machine: Machine) -> sqlite3.Connection:
    # immutable=1: even to read a file in WAL mode SQLite would otherwise create files beside it, which cannot be done
    # here. It ignores the write-ahead log, so a log that has rows must not be passed over.
    log = path.with_name(f"{path.name}-wal")
    if exists(machine.disk, log) and machine.disk.stat(log).st_size:
        raise StateError(
            f"cannot be read alone: {log.name} beside it has changes that cannot be applied now; {FREE_SPACE}"
        )
    with ExitStack() as undo:
        connection = _open(machine, f"{path.absolute().as_uri()}?immutable=1", 0.0, uri=True)
        undo.callback(connection.close)
        if version_of(connection) != VERSION:
            with closing(connection) as file:
                connection = _open(machine, ":memory:", 0.0)
                undo.callback(connection.close)
                file.backup(connection)
            prepare(connection, machine.monotonic)
        connection.execute("PRAGMA query_only = ON")
        undo.pop_all()
        return connection


def _open(machine: Machine, target: str, timeout_seconds: float, *, uri: bool = False) -> sqlite3.Connection:
    return machine.connect(target, timeout=timeout_seconds, isolation_level=None, check_same_thread=False, uri=uri)


def _is_about_writing(error: sqlite3.OperationalError) -> bool:
    code = error.sqlite_errorcode
    return code == sqlite3.SQLITE_IOERR_SHMSIZE or code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _code_of(error: Exception) -> int:
    """Return SQLite's primary result code; 0 for an error of the operating system."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _identity_of(path: Path, machine: Machine) -> tuple[int, int] | None:
    """Return what tells this file from another of the same name; None for a state in memory."""
    try:
        found = machine.disk.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
