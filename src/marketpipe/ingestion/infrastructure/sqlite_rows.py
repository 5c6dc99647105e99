"""One end of a copy of a state: the rows of one store in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from marketpipe.ingestion.infrastructure.sql.database import Row
from marketpipe.ingestion.infrastructure.sql.state_rows import STORE, TABLES, Table
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile, SQLiteStateFile
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

COLUMNS: Final = ", ".join(STORE)
SET_STORE: Final = ", ".join(f"{column} = ?" for column in STORE)


@frozen
class SQLiteRows:
    """``StateRows`` of a SQLite file. A file of an earlier version is migrated first."""

    path: Path
    location: str
    machine: Machine = HERE

    @property
    def place(self) -> str:
        return str(self.path)

    def refuse_absent(self) -> None:
        if not SQLiteStateFile(self.path, self.location, self.machine).has_store():
            raise ConfigurationError(f"{self.path} has no state of this store: name the state that its bars have")

    @contextmanager
    def reading(self) -> Iterator[RowsOfAFile]:
        self.refuse_absent()
        with self._opened() as rows:
            yield rows

    @contextmanager
    def writing(self) -> Iterator[RowsOfAFile]:
        with self._opened() as rows:
            if rows.is_used():
                raise ConfigurationError(
                    f"{self.path} has a state of this store already: name another place, or move that one away"
                )
            yield rows

    @contextmanager
    def _opened(self) -> Iterator[RowsOfAFile]:
        """Write-lock the file, so that nobody else writes meanwhile, and nothing is lost that is written after."""
        self.refuse_use()
        file = SQLiteFile(self.path, self.location, machine=self.machine)
        try:
            # What is done inside has its own errors, which are not those of this file.
            with file.together():
                with file.transaction() as connection:
                    """It is joined to that of ``together``, which goes on."""
                yield RowsOfAFile(connection, file.store_id)
        finally:
            file.close()

    def refuse_use(self) -> None:
        if SQLiteStateFile(self.path, self.location, self.machine).is_in_use():
            raise StoreBusyError(f"a process works with the state in {self.path}: copy it when that has ended")


class RowsOfAFile:
    """``WrittenRows`` in a transaction of SQLite."""

    def __init__(self, connection: sqlite3.Connection, store_id: int) -> None:
        self._connection, self._store_id = connection, store_id

    def store(self) -> Row:
        found = self._connection.execute(f"SELECT {COLUMNS} FROM stores WHERE store_id = ?", (self._store_id,))
        row: Row = found.fetchone()
        return row

    def rows(self, table: Table) -> Iterator[Row]:
        statement = f"SELECT {table.columns} FROM {table.name} WHERE store_id = ? ORDER BY {table.key}"
        return iter(self._connection.execute(statement, (self._store_id,)))

    def is_used(self) -> bool:
        """Return whether the store has a dataset, or any row."""
        return self.store()[0] is not None or any(next(self.rows(table), None) is not None for table in TABLES)

    def newest_job(self) -> int:
        ((number,),) = self._connection.execute("SELECT coalesce(max(job_id), 0) FROM jobs")
        return int(number)

    def add_store(self, values: Sequence[Any]) -> None:
        self._connection.execute(f"UPDATE stores SET {SET_STORE} WHERE store_id = ?", (*values, self._store_id))

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        places = ", ?" * len(table.names)
        statement = f"INSERT INTO {table.name} (store_id, {table.columns}) VALUES (?{places})"
        self._connection.executemany(statement, ((self._store_id, *row) for row in rows))
