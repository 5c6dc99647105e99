"""States in a real PostgreSQL database, for the contracts that each adapter of a port keeps.

One server and one database serve all tests of a process; each test has a store of its own there, and a name for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import psycopg
import pytest

from marketpipe.ingestion.domain.ingestion_checkpoint import LeasedDays
from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from tests.support.postgres_server import PostgresServer

_NUMBERS: Final = itertools.count(1)


class PostgresStates:
    """Opens states in one database, and closes them."""

    def __init__(self, url: str, undo: ExitStack) -> None:
        self.url, self._undo = url, undo

    def new_location(self, name: str = "data") -> str:
        return f"../{next(_NUMBERS)}/{name}"

    def open(self, location: str | None = None, clock: Clock | None = None) -> PostgresState:
        state = PostgresState(self.url, location or self.new_location(), clock or SystemClock())
        self._undo.callback(state.close)
        return state


@contextmanager
def states_in(url: str) -> Iterator[PostgresStates]:
    with ExitStack() as undo:
        yield PostgresStates(url, undo)


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> str:
    """A database for all tests of a process that need no other one."""
    return postgres_server.new_database()


@pytest.fixture
def postgres_states(shared_database: str) -> Iterator[PostgresStates]:
    with states_in(shared_database) as states:
        yield states


@pytest.fixture(scope="session")
def database_with_a_clock(postgres_server: PostgresServer) -> str:
    """A database whose clock tests set."""
    url = postgres_server.new_database()
    PostgresState(url, "../unused", SystemClock()).close()
    with connected(url) as connection:
        connection.execute("CREATE TABLE marketpipe.set_clock AS SELECT moment() AS now")
        connection.execute(
            "CREATE OR REPLACE FUNCTION marketpipe.moment() RETURNS bigint LANGUAGE sql "
            "AS 'SELECT now FROM marketpipe.set_clock'"
        )
    return url


class SetClock(SystemClock):
    """The clock of a process, which tests set."""

    def __init__(self, moment: Timestamp) -> None:
        self.moment = moment

    def now(self) -> Timestamp:
        return self.moment


class LeasesByTheClock:
    """Leases of a database whose clock shows what each caller gives as its now."""

    def __init__(self, url: str, state: PostgresState, clock: SetClock) -> None:
        self._url, self._leases, self._clock = url, state.leases, clock

    def take(
        self, wanted: Mapping[SymbolDay, SessionHours], since: int | None, now: Timestamp, until: Timestamp
    ) -> LeasedDays:
        self.set_clock(now)
        return self._leases.take(wanted, since, now, until)

    def count(self, now: Timestamp) -> int:
        self.set_clock(now)
        return self._leases.count(now)

    def set_clock(self, now: Timestamp) -> None:
        self._clock.moment = now
        with connected(self._url) as connection:
            connection.execute("UPDATE marketpipe.set_clock SET now = %s", (now.epoch_micros,))
            connection.execute("UPDATE marketpipe.holders SET beat = moment()")  # all of them live

    def __getattr__(self, name: str) -> Any:
        return getattr(self._leases, name)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True, options="-c search_path=marketpipe,public") as connection:
        yield connection
