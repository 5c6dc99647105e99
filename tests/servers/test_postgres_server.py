"""What the other tests take for granted of the PostgreSQL server that they start."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.child_processes import start, wait_until
from tests.support.installed import find_program, needs
from tests.support.postgres_server import OWNER, PASSWORD, WITH_PASSWORD, PostgresServer

KILLED = """
import os, sys
from tests.support.child_processes import guarded
from tests.support.postgres_server import running_postgres
with guarded(), running_postgres() as server:
    print(server._folder, server.port, flush=True)
    sys.stdin.read()
"""


def test_its_owner_may_make_tables_and_the_extension_of_exclusion_constraints(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE EXTENSION btree_gist")
        connection.execute("CREATE TABLE something (number integer)")
        row = connection.execute("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (OWNER, False)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_restart_ends_connections_and_keeps_what_is_committed(
    postgres_server: PostgresServer, database_url: str, mode: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE something (number integer)")
        connection.commit()
        postgres_server.restart(mode)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM something").fetchone() == (0,)


def test_nothing_answers_while_it_is_stopped(postgres_server: PostgresServer, database_url: str) -> None:
    postgres_server.stop()
    try:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(database_url)
    finally:
        postgres_server.start()
    psycopg.connect(database_url).close()


def test_one_role_needs_its_password(postgres_server: PostgresServer, database_url: str) -> None:
    url = database_url.replace(f"{OWNER}@", f"{WITH_PASSWORD}@")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, password="wrong")
    psycopg.connect(url, password=PASSWORD).close()


@needs("initdb", "postgres")
def test_a_killed_test_run_leaves_neither_server_nor_files() -> None:
    run = start([sys.executable, "-c", KILLED], stdin=-1)
    assert run.stdout is not None
    line = run.stdout.readline()
    folder, port = Path(line.split()[0]), int(line.split()[1])
    assert (folder / "data").is_dir()
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not folder.exists(), 60)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")


@needs("initdb", "postgres")
def test_the_programs_are_found_where_debian_puts_them() -> None:
    assert find_program("initdb") is not None
    assert find_program("no such program") is None
