"""``PostgresDatabase``: a PostgreSQL database as one store uses it, from several threads and several machines."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, Final, TypeVar

import psycopg

from marketpipe.ingestion.infrastructure.postgres.holders import SignsOfLife, holder_name
from marketpipe.ingestion.infrastructure.postgres.native_sql import native
from marketpipe.ingestion.infrastructure.postgres.postgres_schema import prepare
from marketpipe.ingestion.infrastructure.postgres.sessions import (
    INVALID_VALUES,
    Native,
    Outage,
    Session,
    database_translated,
    explained,
    translated,
)
from marketpipe.ingestion.infrastructure.postgres.transactions import ReadingsDiffer, Row, Transaction
from marketpipe.ingestion.infrastructure.sql.database import Connection
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

T = TypeVar("T")
OPENING_SECONDS: Final = 10.0
"""How long a database is waited for that cannot be reached at first."""
MOST_ATTEMPTS: Final = 10
UNKNOWN_STORE: Final = -1
"""The store_id of a store that is not in a database that may only be read: no row has it."""
FIND_STORE: Final = "SELECT store_id FROM stores WHERE location = $1"
ADD_STORE: Final = "INSERT INTO stores (location) VALUES ($1) ON CONFLICT DO NOTHING"
VERSION: Final = "SELECT CAST(sum(number) AS BIGINT) FROM writers"
WHO_IS_DEAD: Final = "SELECT name FROM unnest(CAST(? AS TEXT[])) AS given (name) WHERE NOT is_alive(name)"
# A lock of the transaction, with a number for its purpose and that of the store. For its order see ``store_locks``.
ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(CAST(? AS INTEGER), CAST(? AS INTEGER))"
WRITING: Final = 1_296_061_777
IS_OURS: Final = "SELECT 1 FROM stores WHERE store_id = ? AND location = ?"


class PostgresDatabase:
    """``Database`` of one store. Each thread that is inside of something has a connection of its own.

    A short outage is waited for: queries are asked again, and transactions go on (see ``Transaction``).
    """

    def __init__(self, url: str, location: str, machine: Machine = HERE) -> None:
        """``location`` tells this store from others in the same database. ``url`` has no password in it.

        Raises ``StateError``.
        """
        self.place, self._location, self._machine = url, location, machine
        self._lock, self._process, self._numbers = machine.threads.lock(), os.getpid(), count(1)
        self._idle, self._together = list[Session](), dict[int, Transaction]()
        self._holder, self._outage, self._is_closed = holder_name(machine), Outage(machine), False
        with translated(url), ExitStack() as undo:
            undo.callback(self._disconnect)
            with self._session() as session:
                session.patiently(prepare, OPENING_SECONDS)
                self.store_id = session.patiently(self._find)
            undo.pop_all()
        self._signs = SignsOfLife(self._new_session(), self.store_id)

    def query(self, statement: str, values: Sequence[Any], /) -> list[Row]:
        with self._used():
            if (joined := self._together.get(threading.get_ident())) is not None:
                return joined.execute(statement, values).fetchall()
            with self._session() as session:
                return session.patiently(lambda connection: connection.execute(native(statement), values).fetchall())

    @contextmanager
    def rows(self, statement: str, *values: object) -> Iterator[list[Row]]:
        found = self.query(statement, (self.store_id, *values))
        try:
            yield found
        except INVALID_VALUES as error:
            raise StateError(f"the state in {self.place} {explained(error)}") from error

    def each(self, connection: Connection, statement: str, values: Sequence[Sequence[Any]]) -> list[list[Row]]:
        assert isinstance(connection, Transaction)
        return connection.each(statement, values)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Transaction]:  # noqa: ARG002 - all are durable here
        """Write in one transaction, and commit at the end."""
        with self._used(), self._joined() as connection:
            yield connection

    def one_at_a_time(self, connection: Connection) -> None:
        connection.execute(ONE_AT_A_TIME, (WRITING, self.store_id))

    def carry_out(self, write: Callable[[Transaction], T]) -> T:
        with self._used():
            for _ in range(MOST_ATTEMPTS):
                try:
                    with self._joined() as connection:
                        return write(connection)
                except ReadingsDiffer:
                    if threading.get_ident() in self._together:
                        raise
            raise ReadingsDiffer

    @contextmanager
    def together(self) -> Iterator[None]:
        thread = threading.get_ident()
        if thread in self._together:
            yield
            return
        with translated(self.place):
            self._refuse_what_cannot_be_used()
        # What is done inside has its own errors, which are not those of the database.
        with database_translated(self.place), self._transaction() as connection:
            self._together[thread] = connection
            try:
                yield
            finally:
                del self._together[thread]

    def alone(self, statement: str, values: Sequence[Any]) -> None:
        """Write by one statement that may be repeated, and that is no part of what is written together."""
        with self._used(), self._session() as session:
            session.patiently(lambda connection: connection.execute(native(statement), values))

    def holder_name(self) -> str:
        with self._used():
            self._signs.begin(is_working=True)
            return self._holder

    def present_name(self) -> str:
        """Return the same name, and do not count as one that works with the state: it may be replaced meanwhile."""
        with self._used():
            self._signs.begin(is_working=False)
            return self._holder

    def dead(self, names: Sequence[str]) -> list[str]:
        return [name for (name,) in self.query(WHO_IS_DEAD, (list(names),))] if names else []

    def version(self) -> int:
        """Return how many transactions were committed."""
        ((version,),) = self.query(VERSION, ())
        return int(version)

    def was_replaced(self) -> bool:
        return self.store_id != UNKNOWN_STORE and not self.query(IS_OURS, (self.store_id, self._location))

    def close(self) -> None:
        """Leave the database, with all leases. Does nothing in a forked child: the connections are the parent's."""
        if os.getpid() != self._process:
            return
        self._is_closed = True
        self._signs.end()
        self._disconnect()

    def _disconnect(self) -> None:
        with self._lock:
            for session in self._idle:
                session.disconnect()
            self._idle.clear()

    @contextmanager
    def _joined(self) -> Iterator[Transaction]:
        """Yield the transaction that this thread is in, or a new one."""
        if (joined := self._together.get(threading.get_ident())) is not None:
            yield joined
            return
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        self._signs.begin(is_working=False)
        with self._session() as session:
            connection, is_done = Transaction(session, (self.store_id, self._location)), False
            try:
                connection.begin()
                yield connection
                connection.commit()
                is_done = True
            finally:
                if not is_done:
                    connection.roll_back()
                if connection.is_in_doubt:
                    session.retire()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._lock:
            session = self._idle.pop() if self._idle else self._new_session()
        try:
            yield session
        finally:
            with self._lock:
                if session.is_retired:
                    session.disconnect()
                else:
                    self._idle.append(session)

    def _new_session(self) -> Session:
        writer = f"{self._holder}/{next(self._numbers)}"
        return Session(self.place, self._holder, writer, self._machine, self._outage)

    @contextmanager
    def _used(self) -> Iterator[None]:
        with translated(self.place):
            self._refuse_what_cannot_be_used()
            yield

    def _refuse_what_cannot_be_used(self) -> None:
        if self._is_closed:
            raise StateError("was closed already; open it again")
        if os.getpid() != self._process:
            raise StateError(
                f"was opened by process {self._process}, from which this one was forked: a fork has no part in "
                "what its parent does. Make a new Pipeline in each process"
            )

    def _find(self, connection: Native) -> int:
        """Return the store's id, inserted if the store is new; ``UNKNOWN_STORE`` if the database cannot be written."""
        found = connection.execute(FIND_STORE, (self._location,)).fetchone()
        if found is None:
            try:
                connection.execute(ADD_STORE, (self._location,))
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
                return UNKNOWN_STORE
            found = connection.execute(FIND_STORE, (self._location,)).fetchone()
        return int(found[0]) if found else UNKNOWN_STORE
