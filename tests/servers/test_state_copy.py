"""Copying a state from and to a real PostgreSQL server: the contract, and the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.postgres.postgres_database import PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.postgres_rows import PostgresRows
from marketpipe.ingestion.infrastructure.sql.state_rows import StateRows
from marketpipe.ingestion.infrastructure.sqlite_rows import SQLiteRows
from tests.contract.test_state_rows import *  # noqa: F403 - the whole contract, between other databases
from tests.contract.test_state_rows import Ends, used_file
from tests.support.postgres_server import PostgresServer


@contextmanager
def used_database(end: StateRows) -> Iterator[None]:
    if not isinstance(end, PostgresRows):
        with used_file(end):
            yield
        return
    database = PostgresDatabase(end.place, end.location)
    database.holder_name()
    yield
    database.close()


@pytest.fixture(params=["to", "from", "between"])
def ends(request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Ends]:
    """SQLite to PostgreSQL, PostgreSQL to SQLite, and between two databases of PostgreSQL."""
    one, other = postgres_server.new_database(), postgres_server.new_database()
    file = tmp_path / "source.sqlite"
    yield {
        "to": Ends(SQLiteRows(file, "data"), partial(PostgresRows, other), used_database),
        "from": Ends(PostgresRows(one, "data"), partial(SQLiteRows, file), used_database),
        "between": Ends(PostgresRows(one, "data"), partial(PostgresRows, other), used_database),
    }[request.param]
    for url in (one, other):
        postgres_server.drop(url)
