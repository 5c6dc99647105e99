"""A transaction that outlives the loss of its connection: all that was asked is remembered, and asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from attrs import define, field, frozen

from marketpipe.ingestion.infrastructure.postgres.native_sql import for_each, for_many, is_one_for_many, native
from marketpipe.ingestion.infrastructure.postgres.sessions import (
    LONGEST_OUTAGE,
    PAUSE,
    Native,
    Session,
    is_outage,
    is_to_repeat,
)
from marketpipe.shared_kernel.domain.errors import StateError

Row = tuple[Any, ...]
KNOW_WRITER: Final = "INSERT INTO writers (writer, holder, number) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING"
COUNT_COMMIT: Final = "UPDATE writers SET number = $3 WHERE writer = $1 AND number = $2"
IS_OURS: Final = "SELECT EXISTS (SELECT FROM stores WHERE store_id = $1 AND location = $2)"
END_LOST: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> $2"
MOST_REPEATS: Final = 20


class ReadingsDiffer(StateError):
    """The transaction cannot go on after the loss of its connection: it would read something else now."""

    def __init__(self) -> None:
        super().__init__("was out of reach, and others have changed meanwhile what was read before; run again")


@define(eq=False)
class Answered:
    """What a statement has returned: ``Rows``."""

    rows: list[Row]
    rowcount: int
    _read: int = field(default=0, init=False)

    def fetchone(self) -> Row | None:
        self._read += 1
        return self.rows[self._read - 1] if self._read <= len(self.rows) else None

    def fetchall(self) -> list[Row]:
        return self.rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


@frozen
class _Asked:
    statement: str
    values: Sequence[Any]
    is_for_many: bool = False
    """``values`` are rows then."""

    def of(self, connection: Native) -> tuple[list[Row], int]:
        if self.is_for_many:
            cursor = connection.cursor()
            cursor.executemany(self.statement, self.values)
            return [], cursor.rowcount
        cursor = connection.execute(self.statement, self.values)
        return (cursor.fetchall() if cursor.description else []), cursor.rowcount


@define(eq=False)
class Transaction:
    """One transaction, a ``Connection`` for what is done inside.

    If the connection is lost, as when the database is restarted, another one is opened and everything is asked again.
    What was returned before must be returned again: else the transaction ends with ``ReadingsDiffer``. A commit whose
    answer was lost took place if the number of the writer has gone up, and is not repeated then.
    """

    _session: Session
    _store: tuple[int, str]
    is_in_doubt: bool = field(default=False, init=False)
    """Whether it cannot be told if it is committed. Its session is of no more use then."""
    _connection: Native | None = field(default=None, init=False, repr=False)
    _log: list[tuple[_Asked, tuple[list[Row], int]]] = field(factory=list, init=False)

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Answered:
        return Answered(*self._ask(_Asked(native(statement), values)))

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        given = list(rows)
        if given and is_one_for_many(statement):
            self._ask(_Asked(*for_many(statement, given)))
        elif given:
            self._ask(_Asked(native(statement), given, is_for_many=True))

    def each(self, statement: str, values: Sequence[Sequence[Any]]) -> list[list[Row]]:
        found: list[list[Row]] = [[] for _ in values]
        if values:
            for number, *row in self._ask(_Asked(*for_each(statement, values)))[0]:
                found[number - 1].append(tuple(row))
        return found

    def begin(self) -> None:
        self._repeated(lambda: None)

    def commit(self) -> None:
        def commit() -> None:
            if self._native.execute("COMMIT").statusmessage != "COMMIT":
                raise StateError("has rolled back what was to be committed, after an error; run again")

        self.is_in_doubt = True
        try:
            commit()
        except psycopg.Error as error:
            if not is_to_repeat(error):
                raise
            self._repeated(commit, error)
        self.is_in_doubt = False
        self._session.number += 1

    def roll_back(self) -> None:
        """End it without a trace. A connection that is lost has done so by itself."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.execute("ROLLBACK")

    @property
    def _native(self) -> Native:
        """The connection that the transaction has begun on: on another one there is none."""
        if self._connection is None:
            raise psycopg.OperationalError("the transaction has not begun")
        return self._connection

    def _ask(self, asked: _Asked) -> tuple[list[Row], int]:
        answer: list[tuple[list[Row], int]] = []

        def ask() -> None:
            answer.append(asked.of(self._native))

        try:
            ask()
        except psycopg.Error as error:
            if not is_to_repeat(error):
                raise
            self._repeated(ask, error)
        self._log.append((asked, answer[-1]))
        return answer[-1]

    def _repeated(self, act: Callable[[], None], lost: psycopg.Error | None = None) -> None:
        """Begin, ask again what was asked, and act. If the transaction turns out to be committed, nothing is done."""
        for _ in range(MOST_REPEATS):
            try:
                self._begin_after(lost)
                if self._is_counted():
                    self._replay()
                    act()
                return
            except psycopg.Error as error:
                if not is_to_repeat(error) or self._session.outage.lasts_longer_than(LONGEST_OUTAGE):
                    raise
                lost = error
            self._session.machine.pause(PAUSE)
        raise lost or ReadingsDiffer

    def _begin_after(self, lost: psycopg.Error | None) -> None:
        session = self._session
        if lost is not None and is_outage(lost):
            session.disconnect()
        elif lost is not None:
            self.roll_back()
        connection = self._connection = session.patiently(lambda connection: connection)
        if lost is not None:
            # What the lost connection has begun holds its locks until the server finds out that nobody is there.
            connection.execute(END_LOST, (session.application, connection.info.backend_pid))
        if not session.is_known:
            connection.execute(KNOW_WRITER, (session.writer, session.holder))
            session.is_known = True
        connection.execute("BEGIN")

    def _is_counted(self) -> bool:
        """Count it in its own row. Return False if it is committed already: then the row has its number.

        Who waits here waits for the same transaction on a lost connection, which is rolled back or committed then.
        """
        session, connection = self._session, self._native
        values = session.writer, session.number, session.number + 1
        if connection.execute(COUNT_COMMIT, values).rowcount:
            if connection.execute(IS_OURS, self._store).fetchone() != (True,):
                raise StateError("was moved away or replaced while it was in use; run again")
            return True
        connection.execute("ROLLBACK")
        if not self.is_in_doubt:
            raise StateError(f"has lost the count of the transactions of {session.writer}; run again")
        return False

    def _replay(self) -> None:
        for asked, answer in self._log:
            if asked.of(self._native) != answer:
                self.roll_back()
                raise ReadingsDiffer
