"""All rows of one store in a state, for a copy into another database: what SQLite and PostgreSQL both can do.

Holders, leases and locks are not copied: a state is copied while no process works with it. The caller keeps out those
who change a store without being seen there, such as an aggregation: by the locks of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import zip_longest
from typing import Any, Final, Protocol

from attrs import frozen

from marketpipe.ingestion.infrastructure.sql.database import Row
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.object_catalog import OF_ONE_STATE

PLACED, APPENDED = "placed_files", "appended_lines"
STORE: Final = ("provider", "feed", "adjustment", "session", "changes", "asof", "closing_auction")
"""The columns of the row of the store itself, besides its number and its location."""


@frozen
class Table:
    """``key`` is the primary key and ``columns`` are all columns, both without the store's number, as SQL has them."""

    name: str
    key: str
    columns: str

    @property
    def names(self) -> list[str]:
        return self.columns.split(", ")


TABLES: Final = (
    Table(
        "jobs",
        "job_id",
        "job_id, state, started_at, finished_at, symbols, first, last, session, planned, done, failed, holder",
    ),
    Table(
        "checkpoints",
        "symbol, trading_date",
        "symbol, trading_date, outcome, hours, answers, rejected, job_id, checked_at, error, change, days",
    ),
    Table(
        "partitions",
        "symbol, trading_date",
        "symbol, trading_date, rows, first, last, bytes, sha256, known_since, minutes, mark, figures",
    ),
    Table("official_years", "symbol, year", "symbol, year, answered, mark, sha256, known_since, checked_at"),
    Table("files", "path, sha256", "path, sha256"),
    Table("runs", "kind, state", "kind, state, finished_at, seconds"),
    Table("totals", "name, labels", "name, labels, value"),
    Table(PLACED, "folder, name", "folder, name, object, start, size, modified_ns, content"),
    Table(APPENDED, "folder, name, start", "folder, name, start, lines, modified_ns"),
)


class ReadRows(Protocol):
    """The rows of one store as they were at one moment."""

    def store(self) -> Row:
        """Return the values of ``STORE``."""

    def rows(self, table: Table) -> Iterator[Row]:
        """Yield the values of the table's columns, ordered by its key."""


class WrittenRows(ReadRows, Protocol):
    """The rows of one store that is being written, in a transaction."""

    def newest_job(self) -> int:
        """Return the largest number of a job of any store in this database; 0 if there is none."""

    def add_store(self, values: Sequence[Any]) -> None: ...

    def add(self, table: Table, rows: Iterable[Row]) -> None: ...


class StateRows(Protocol):
    """One end of a copy."""

    @property
    def place(self) -> str: ...

    def refuse_absent(self) -> None:
        """Raise ``ConfigurationError`` if there is no such store. Nothing is made."""

    def reading(self) -> AbstractContextManager[ReadRows]:
        """Read as of one moment. Until the end nobody writes checkpoints or what is stored; in PostgreSQL others may
        write digests, official years, files and totals of runs, which are not read. Raises what ``refuse_absent`` and
        ``refuse_use`` raise.
        """

    def writing(self) -> AbstractContextManager[WrittenRows]:
        """Write in one transaction, and commit durably at the end. Raises ``ConfigurationError`` if the store exists,
        and what ``refuse_use`` raises.
        """

    def refuse_use(self) -> None:
        """Raise ``StoreBusyError`` if a process works with the state."""


def copy_rows(source: StateRows, target: StateRows) -> Mapping[str, int]:
    """Copy a store, and return how many rows of each table it has. All are compared before anything is committed.

    Jobs get other numbers if the target has jobs of other stores, as a number is that of one job in a database.
    Raises ``StateError``.
    """
    with source.reading() as old, target.writing() as new:
        shift = new.newest_job()
        new.add_store(old.store())
        for table in TABLES:
            new.add(table, _shifted(table, old.rows(table), shift))
        if old.store() != new.store():
            raise _different(source, target, "stores")
        counted = {table.name: _compared(source, target, table, old, new, shift) for table in TABLES}
        source.refuse_use()  # what an ingestion has begun meanwhile would be in the old state alone
        return counted


def _shifted(table: Table, rows: Iterator[Row], shift: int) -> Iterator[Row]:
    if table.name == PLACED:
        return (row for row in rows if not row[0].startswith(f"{OF_ONE_STATE}/"))
    if not shift or "job_id" not in table.names:
        return rows
    place = table.names.index("job_id")
    return ((*row[:place], row[place] + shift, *row[place + 1 :]) for row in rows)


def _compared(source: StateRows, target: StateRows, table: Table, old: ReadRows, new: ReadRows, shift: int) -> int:
    """Return how many rows there are. Raises ``StateError`` if they differ."""
    count = 0
    for row, copied in zip_longest(_shifted(table, old.rows(table), shift), new.rows(table)):
        if row != copied:
            raise _different(source, target, table.name)
        count += 1
    return count


def _different(source: StateRows, target: StateRows, table: str) -> StateError:
    return StateError(
        f"nothing was copied: the state in {target.place} would not have the same rows as {source.place} in the table "
        f"{table}; see what 'marketpipe verify' finds, or build a new state with 'marketpipe recover'"
    )
