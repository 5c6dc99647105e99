"""Connections to PostgreSQL, which are opened again after a short outage, and the errors of psycopg in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import psycopg
from attrs import define, field
from psycopg.types.numeric import Int8Dumper

from marketpipe.ingestion.infrastructure.postgres.postgres_schema import SCHEMA
from marketpipe.shared_kernel.domain.errors import StateError, ValidationError
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

T = TypeVar("T")
Native = psycopg.Connection[Any]
LONGEST_OUTAGE: Final = 30.0
"""Seconds for which a database is waited for that was there before, as while it is restarted."""
PAUSE: Final = 0.2
CONNECTING_SECONDS: Final = 5
# Who is cut off, or frozen, in the middle of a transaction loses it before those that wait for its locks give up.
# A limit for statements, which is meant for the queries of people, would end such a wait before.
OPTIONS: Final = (
    f"-c search_path={SCHEMA},public -c lock_timeout=90s -c idle_in_transaction_session_timeout=30s "
    "-c statement_timeout=0 -c client_encoding=UTF8"
)
OUR_WORDS: Final = "the state in "
OF_AN_OUTAGE: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300"})
"""Shutting down, crashed, starting, idle for too long (alone, or in a transaction), too many connections."""
TO_REPEAT: Final = frozenset({"40001", "40P01"})
"""Another transaction was in the way, and this one was rolled back."""
OF_DAMAGE: Final = frozenset({"XX001", "XX002", "42P01", "42703"})
"""Corrupt data and indexes; a table or a column that is missing."""
OF_SETTINGS: Final = ("authentication failed", "does not exist", "no password", "not permitted", "pg_hba.conf")
"""In messages of connections that were refused for good: libpq gives no code for them."""
INVALID_VALUES: Final = (ValidationError, UnicodeDecodeError, LookupError, TypeError, ValueError, ArithmeticError)
"""Raised while parsing values that MarketPipe never wrote."""
RECOVER: Final = "'marketpipe recover' builds a new one from the stored files"


def is_outage(error: psycopg.Error) -> bool:
    """Whether the connection is lost, or can not be made now."""
    code = error.sqlstate
    if code is None:
        return isinstance(error, psycopg.OperationalError)
    return code.startswith("08") or code in OF_AN_OUTAGE


def is_to_repeat(error: psycopg.Error) -> bool:
    """Whether the same transaction may succeed if it is carried out again."""
    return is_outage(error) or error.sqlstate in TO_REPEAT


def connect(url: str, application: str) -> Native:
    """Open a connection. Raises ``psycopg.Error``."""
    connection: Native = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECTING_SECONDS,
        application_name=application,
        options=OPTIONS,
        cursor_factory=psycopg.RawCursor,
        keepalives_idle=10,  # a network that is cut is found out in about 20 seconds
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=20_000,
    )
    # One type for all whole numbers, so that a statement is the same one for small and for large ones.
    connection.adapters.register_dumper(int, Int8Dumper)
    return connection


@define(eq=False)
class Outage:
    """Since when the database is out of reach, for all connections of a process.

    So what ends a command that has waited for long does not wait as long again.
    """

    _machine: Machine = HERE
    _began: float | None = field(default=None, init=False)

    def lasts_longer_than(self, seconds: float) -> bool:
        """Call it when the database was found to be out of reach."""
        if self._began is None:
            self._began = self._machine.monotonic()
        return self._machine.monotonic() - self._began > seconds

    def is_over(self) -> None:
        self._began = None


@define(eq=False)
class Session:
    """A connection of one thread at a time. ``number`` counts the transactions that were committed with it.

    In the database the row ``writer`` of writers has the same number: it tells whether a commit took place whose
    answer was lost.
    """

    url: str
    holder: str
    writer: str
    machine: Machine = HERE
    outage: Outage = field(factory=Outage)
    number: int = 0
    is_known: bool = False
    is_retired: bool = False
    _connection: Native | None = field(default=None, repr=False)

    @property
    def application(self) -> str:
        """Return what the database calls the connection; its names have up to 63 characters."""
        return f"marketpipe {self.writer}"[-63:]

    def connected(self) -> Native:
        if self._connection is not None and (self._connection.broken or self._connection.closed):
            self.disconnect()
        if self._connection is None:
            self._connection = connect(self.url, self.application)
        return self._connection

    def retire(self) -> None:
        """Let it not be used again: its number may not be that of the database."""
        self.is_retired = True

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def patiently(self, ask: Callable[[Native], T], patience: float = LONGEST_OUTAGE) -> T:
        """Return what ``ask`` returns; during an outage try again, for so many seconds. It must be safe to repeat."""
        while True:
            try:
                answer = ask(self.connected())
            except psycopg.Error as error:
                if not is_outage(error) or _is_final(error) or self.outage.lasts_longer_than(patience):
                    raise
                self.disconnect()
            else:
                self.outage.is_over()
                return answer
            self.machine.pause(PAUSE)


def _is_final(error: psycopg.Error) -> bool:
    return error.sqlstate is None and any(words in str(error) for words in OF_SETTINGS)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise ``StateError`` for what psycopg raises, and for values that cannot be parsed. ``place`` is the URL."""
    try:
        yield
    except StateError as error:
        if str(error).startswith(OUR_WORDS):
            raise
        raise StateError(f"{OUR_WORDS}{place} {error}") from error
    except (psycopg.Error, ValidationError, UnicodeDecodeError) as error:
        raise StateError(f"{OUR_WORDS}{place} {explained(error)}") from error


@contextmanager
def database_translated(place: str) -> Iterator[None]:
    """Raise ``StateError`` for what psycopg raises, and leave all other errors as they are."""
    try:
        yield
    except psycopg.Error as error:
        raise StateError(f"{OUR_WORDS}{place} {explained(error)}") from error


def explained(error: Exception) -> str:
    """Return what is wrong with a state and what to do, as the end of a sentence that begins with its place."""
    if not isinstance(error, psycopg.Error):
        return f"holds values that MarketPipe never wrote: {error}; {RECOVER}, with --force if part of it can be read"
    why = str(error).strip().partition("\n")[0]
    if error.sqlstate in OF_DAMAGE:
        return f"cannot be used: {why}; {RECOVER}"
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return f"is locked by another process: {why}; wait for that process to end, and try again"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return (
            f"cannot be used: {why}; let this user own the database, or make the schema {SCHEMA} and the extension "
            "btree_gist for it"
        )
    if is_outage(error):
        return (
            f"cannot be reached: {why}; see whether the server runs and lets this user in (its password: PGPASSFILE or "
            "PGPASSWORD). What was stored is kept: the same command asks only for the rest"
        )
    return f"cannot be used: {why}"
