"""One end of a copy of a state: the rows of one store in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from attrs import frozen

from marketpipe.ingestion.infrastructure.postgres.postgres_schema import prepare
from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresStoredState
from marketpipe.ingestion.infrastructure.postgres.sessions import Native, connect, database_translated, translated
from marketpipe.ingestion.infrastructure.sql.database import Row
from marketpipe.ingestion.infrastructure.sql.state_rows import STORE, TABLES, Table
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError

COLUMNS: Final = ", ".join(STORE)
SET_STORE: Final = ", ".join(f"{column} = ${number}" for number, column in enumerate(STORE, 2))
ADD_STORE: Final = "INSERT INTO stores (location) VALUES ($1) ON CONFLICT DO NOTHING"
LOCK_STORE: Final = "SELECT store_id FROM stores WHERE location = $1 FOR UPDATE"
NEXT_JOB: Final = "SELECT setval(pg_get_serial_sequence('jobs', 'job_id'), $1)"
COUNT_COMMIT: Final = "UPDATE writers SET number = number + 1 WHERE writer = ''"
AT_A_TIME: Final = 10_000


@frozen
class PostgresRows:
    """``StateRows`` of a PostgreSQL database. Tables of an earlier version are migrated first."""

    place: str
    location: str

    def refuse_absent(self) -> None:
        if not self._state().has_store():
            raise ConfigurationError(f"{self.place} has no state of this store: name the state that its bars have")

    @contextmanager
    def reading(self) -> Iterator[RowsOfADatabase]:
        self.refuse_absent()
        with self._opened() as rows:
            yield rows

    @contextmanager
    def writing(self) -> Iterator[RowsOfADatabase]:
        with self._opened(is_new=True) as rows:
            if rows.is_used():
                raise ConfigurationError(
                    f"{self.place} has a state of this store already: name another place, or move that one away"
                )
            yield rows
            rows.end()

    @contextmanager
    def _opened(self, *, is_new: bool = False) -> Iterator[RowsOfADatabase]:
        """Lock the row of the store: whoever wants to write checkpoints or the dataset waits. Others do not."""
        self.refuse_use()
        # What is done inside has its own errors, which are not those of the database.
        with database_translated(self.place), connect(self.place, "marketpipe-copies-a-state") as connection:
            with translated(self.place):
                prepare(connection)
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                if is_new:
                    connection.execute(ADD_STORE, (self.location,))
                found = connection.execute(LOCK_STORE, (self.location,)).fetchone()
                assert found is not None
                yield RowsOfADatabase(connection, found[0])

    def refuse_use(self) -> None:
        if self._state().is_in_use():
            raise StoreBusyError(f"a process works with the state in {self.place}: copy it when that has ended")

    def _state(self) -> PostgresStoredState:
        return PostgresStoredState(self.place, self.location)


class RowsOfADatabase:
    """``WrittenRows`` in a transaction of PostgreSQL."""

    def __init__(self, connection: Native, store_id: int) -> None:
        self._connection, self._store_id = connection, store_id

    def store(self) -> Row:
        row: Row | None = self._connection.execute(
            f"SELECT {COLUMNS} FROM stores WHERE store_id = $1", (self._store_id,)
        ).fetchone()
        assert row is not None
        return row

    def rows(self, table: Table) -> Iterator[Row]:
        statement = f"SELECT {table.columns} FROM {table.name} WHERE store_id = $1 ORDER BY {table.key}"
        with psycopg.RawServerCursor(self._connection, f"copy_of_{table.name}") as cursor:
            cursor.itersize = AT_A_TIME
            cursor.execute(statement, (self._store_id,))
            yield from cursor

    def is_used(self) -> bool:
        """Return whether the store has a dataset, or any row."""
        return self.store()[0] is not None or any(next(self.rows(table), None) is not None for table in TABLES)

    def newest_job(self) -> int:
        found = self._connection.execute("SELECT coalesce(max(job_id), 0) FROM jobs").fetchone()
        assert found is not None
        return int(found[0])

    def add_store(self, values: Sequence[Any]) -> None:
        self._connection.execute(f"UPDATE stores SET {SET_STORE} WHERE store_id = $1", (self._store_id, *values))

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        with self._connection.cursor().copy(f"COPY {table.name} (store_id, {table.columns}) FROM STDIN") as written:
            for row in rows:
                written.write_row((self._store_id, *row))

    def end(self) -> None:
        """Let the next job have the next number, and let whoever watches the database see that it has changed."""
        if newest := self.newest_job():
            self._connection.execute(NEXT_JOB, (newest,))
        self._connection.execute(COUNT_COMMIT)
