"""``PostgresState``: the state of one store in a PostgreSQL database; and that state seen from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import psycopg

from marketpipe.ingestion.domain.store_status import StateCondition
from marketpipe.ingestion.infrastructure.postgres.postgres_database import FIND_STORE, OPENING_SECONDS, PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.postgres_leases import PostgresLeases
from marketpipe.ingestion.infrastructure.postgres.postgres_schema import FIND_VERSION, NEW, version_of
from marketpipe.ingestion.infrastructure.postgres.sessions import OF_DAMAGE, Native, Session, translated
from marketpipe.ingestion.infrastructure.sql.state import SqlState
from marketpipe.ingestion.infrastructure.sql.state_rows import TABLES
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

T = TypeVar("T")
SELECT_PROVIDER: Final = "SELECT provider FROM stores WHERE location = $1"
READ_EACH_TABLE: Final = "SELECT " + ", ".join(
    f"(SELECT count(*) FROM {name} WHERE store_id = $1)" for name in (*(table.name for table in TABLES), "leases")
)
IS_IN_USE: Final = (
    "SELECT EXISTS (SELECT FROM holders JOIN stores USING (store_id) "
    "WHERE location = $1 AND is_working AND is_alive(holder))"
)
ARCHIVE: Final = "UPDATE stores SET location = $2 WHERE location = $1"


class PostgresState(SqlState):
    """``IngestionState`` of one store in a PostgreSQL database, which may hold several stores."""

    def __init__(self, url: str, location: str, clock: Clock, machine: Machine = HERE) -> None:
        """``location`` tells this store from others in the same database. Raises ``StateError``."""
        database = PostgresDatabase(url, location, machine)
        super().__init__(database, url)
        self.leases = PostgresLeases(database, clock)


class PostgresStoredState:
    """``StoredState``: inspects a state without creating and without migrating its tables."""

    def __init__(self, url: str, location: str, machine: Machine = HERE) -> None:
        self._url, self._location, self._machine = url, location, machine

    def condition(self) -> StateCondition:
        return self._ask(self._condition_of)

    def exists(self) -> bool:
        """Return whether there is any state in the database."""
        return self._ask(lambda connection: connection.execute(FIND_VERSION).fetchone() == (True,))

    def has_store(self) -> bool:
        """Return whether this store has records there; False also for a database that cannot be read."""
        try:
            return self._ask(self._has_store)
        except StateError:
            return False

    def is_in_use(self) -> bool:
        return self._ask(
            lambda connection: (
                connection.execute(FIND_VERSION).fetchone() == (True,)
                and connection.execute(IS_IN_USE, (self._location,)).fetchone() == (True,)
            )
        )

    def archive(self, now: Timestamp) -> str:
        """Give the store another name, under which all its rows stay; the next one begins without any."""
        archived = f"{self._location}.{now.moment:%Y%m%dT%H%M%S.%fZ}.bak"
        self._ask(lambda connection: connection.execute(ARCHIVE, (self._location, archived)).rowcount)
        return f"{self._url}, as the store {archived}"

    def _has_store(self, connection: Native) -> bool:
        is_there = connection.execute(FIND_VERSION).fetchone() == (True,)
        return is_there and connection.execute(FIND_STORE, (self._location,)).fetchone() is not None

    def _condition_of(self, connection: Native) -> StateCondition:
        if connection.execute(FIND_VERSION).fetchone() != (True,):
            return StateCondition.ABSENT
        try:
            if version_of(connection) == NEW:
                return StateCondition.ABSENT
        except StateError:
            return StateCondition.NEWER
        try:
            store = connection.execute(FIND_STORE, (self._location,)).fetchone()
            if store is not None:
                connection.execute(READ_EACH_TABLE, store)
            provider = connection.execute(SELECT_PROVIDER, (self._location,)).fetchone()
        except psycopg.Error as error:
            if error.sqlstate in OF_DAMAGE:
                return StateCondition.DAMAGED
            raise
        return StateCondition.USABLE if provider and provider[0] is not None else StateCondition.UNCLAIMED

    def _ask(self, ask: Callable[[psycopg.Connection[Any]], T]) -> T:
        session = Session(self._url, "", "inspection", self._machine)
        try:
            with translated(self._url):
                return session.patiently(ask, OPENING_SECONDS)
        finally:
            session.disconnect()
