"""``Database``: what the roles of a state need of the database that they are in, whichever it is.

The statements of the roles are written once, in what SQLite and PostgreSQL have in common: a value is a ``?`` (or
``?1``, if it is used again), an upsert names its key, a number that the database gives is returned by ``RETURNING``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Rows(Protocol):
    """What a statement has returned. Each row is read once."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Row | None: ...

    def fetchall(self) -> list[Row]: ...

    def __iter__(self) -> Iterator[Row]: ...


class Connection(Protocol):
    """A connection inside a transaction: ``Connection`` is one."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Rows: ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object: ...


class Database(Protocol):
    """The database as one store uses it. Safe to call from several threads; raises ``StateError``."""

    @property
    def store_id(self) -> int:
        """The number of the store in this database."""

    def query(self, statement: str, values: Sequence[Any], /) -> list[Row]: ...

    def rows(self, statement: str, *values: object) -> AbstractContextManager[list[Row]]:
        """Yield the rows of a query whose first value is the store.

        Raises ``StateError`` also for what parsing them inside raises: any value of a row may be damaged.
        """

    def each(self, connection: Connection, statement: str, values: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """Return the rows of the same query for each of the values, inside a transaction."""

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[Connection]:
        """Write in one transaction, and commit at the end; a ``durable`` commit survives a power failure too."""

    def one_at_a_time(self, connection: Connection) -> None:
        """Let all other transactions of the store that call this wait until this one has ended.

        To be called before what is read decides what is written, unless a lease protects it.
        """

    def carry_out(self, write: Callable[[Connection], T]) -> T:
        """Write in one transaction, which may be tried again: ``write`` is called once for each attempt."""

    def together(self) -> AbstractContextManager[None]:
        """Let all that this thread writes inside be one transaction, committed durably at the end.

        An error inside ends the transaction, and nothing of it is written.
        """

    def holder_name(self) -> str:
        """Return this process's name in the database; from the first call on other processes see that it lives."""

    def dead(self, names: Sequence[str]) -> list[str]:
        """Return those of the holders whose process has ended."""

    def version(self) -> object:
        """Return what changes whenever something is written, by whichever process, while this database is open."""

    def was_replaced(self) -> bool:
        """Return whether the state was archived or replaced since it was opened, so that what it has is old."""

    def close(self) -> None: ...
