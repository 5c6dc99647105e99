"""Copying a state from and to a real PostgreSQL server: the contract, and the command."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from marketpipe.config import PipelineConfig
from marketpipe.ingestion.infrastructure.postgres.postgres_database import PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.postgres_locks import PostgresLocks
from marketpipe.ingestion.infrastructure.postgres.postgres_rows import PostgresRows
from marketpipe.ingestion.infrastructure.sql.state_rows import StateRows
from marketpipe.ingestion.infrastructure.sqlite_rows import SQLiteRows
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from tests.contract.test_state_rows import *  # noqa: F403 - the whole contract, between other databases
from tests.contract.test_state_rows import Ends, used_file
from tests.support.cli_process import marketpipe
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


def test_a_store_goes_on_with_its_state_in_a_database_and_back(database_url: str, tmp_path: Path) -> None:
    text = "provider: synthetic\nsymbols: [AAPL, MSFT]\nstart: 2024-11-25\nend: 2024-11-27\ntimeframes: [1d]\n"
    (tmp_path / "marketpipe.yaml").write_text(text)
    for name, state in (("shared", database_url), ("back", "back/marketpipe.sqlite")):
        (tmp_path / f"{name}.yaml").write_text(f"{text}state_path: {state}\n")

    def run(*words: str, code: int = 0) -> str:
        done = marketpipe(*words, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        return str(done.stdout + done.stderr)

    run("ingest")
    copied = run("state", "copy", "state/marketpipe.sqlite", database_url)
    assert f"6 symbol-days and 1 job copied to {database_url}" in copied
    assert "has a state of this store already" in run("state", "copy", "state/marketpipe.sqlite", database_url, code=2)
    assert "0 symbol-days to request (6 already settled" in run("plan", "--config", "shared.yaml")
    run("verify", "--config", "shared.yaml")
    run("ingest", "--config", "shared.yaml", "--end", "2024-11-29")
    run("state", "copy", database_url, "back/marketpipe.sqlite", "--config", "shared.yaml")
    assert "0 symbol-days to request (8 already" in run("plan", "--config", "back.yaml", "--end", "2024-11-29")
    assert run("freeze", "--config", "back.yaml") == run("freeze", "--config", "shared.yaml")
    run("verify", "--config", "back.yaml")


def test_an_aggregation_waits_for_another_machines_and_an_update_is_refused_beside_another_one(
    database_url: str, tmp_path: Path
) -> None:
    config = PipelineConfig(
        provider="synthetic",
        symbols=["AAPL"],
        start="2024-11-25",
        end="2024-11-27",
        root=tmp_path,
        output_path="data",
        state_path=Path(database_url),
    )
    locks = PostgresLocks(database_url, str(tmp_path / "data"))
    with Pipeline(config, registry=CollectorRegistry()) as pipeline:
        assert pipeline.ingest().ok
        with (
            locks.lock("update", waits=False).acquired(),
            pytest.raises(StoreBusyError, match=r"an update.* of this store is running \(process"),
        ):
            pipeline.update()
        held = threading.Event()

        def hold() -> None:
            with locks.lock("aggregation", waits=False).acquired():
                held.set()
                time.sleep(0.5)

        holder, begin = threading.Thread(target=hold), time.monotonic()
        holder.start()
        assert held.wait(20)
        pipeline.aggregate()
        assert time.monotonic() - begin > 0.4
        holder.join()
    locks.close()
