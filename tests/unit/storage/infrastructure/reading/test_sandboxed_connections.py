from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from marketpipe.storage.infrastructure.reading.sandboxed_connections import Connection, SandboxedConnections
from tests.support.child_processes import run

SCRATCH = "SELECT current_setting('temp_directory')"


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[SandboxedConnections]:
    made = SandboxedConnections({}, lambda: f"'{tmp_path}/'", longest_use=60)
    yield made
    made.close()


def scratch_of(connection: Connection) -> Path:
    return Path(str(connection.execute(SCRATCH).fetchall()[0][0]))


def test_a_connection_is_used_again_and_has_nothing_of_the_query_before(connections: SandboxedConnections) -> None:
    with connections.open() as first:
        first.execute("CREATE SCHEMA calendar")
        first.execute("CREATE TABLE calendar.days AS SELECT 1")
        first.execute("CREATE TEMP MACRO avg(x) AS 42")
        first.execute("CREATE VIEW bars AS SELECT 1 AS symbol")

    with connections.open() as second:
        assert second is first
        assert second.execute("SELECT avg(1)").fetchall() == [(1.0,)]
        assert second.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall() == []
        second.execute("CREATE SCHEMA calendar")


def test_a_connection_on_which_something_failed_is_closed(connections: SandboxedConnections) -> None:
    with connections.open() as first:
        scratch = scratch_of(first)
    with pytest.raises(duckdb.Error), connections.open() as first:
        first.execute("SELECT * FROM nowhere")

    assert not scratch.exists()
    with connections.open() as second:
        assert second is not first


def test_queries_at_the_same_time_have_connections_of_their_own(connections: SandboxedConnections) -> None:
    with connections.open() as one, connections.open() as other:
        assert one is not other
        places = [scratch_of(one), scratch_of(other)]
    assert sum(place.exists() for place in places) == 1
    connections.close()

    assert not any(place.exists() for place in places)


def test_other_folders_and_a_scratch_folder_that_is_gone_need_another_connection(tmp_path: Path) -> None:
    allowed = ["/nowhere"]
    connections = SandboxedConnections({}, lambda: f"'{allowed[-1]}/'", longest_use=60)
    with connections.open() as first:
        scratch = scratch_of(first)
    scratch.rmdir()
    with connections.open() as second:
        assert second is not first
    allowed.append(str(tmp_path))
    with connections.open() as third:
        assert third is not second
    connections.close()


IN_A_FORKED_CHILD = """
import os, sys
from pathlib import Path
from marketpipe.storage.infrastructure.reading.sandboxed_connections import SandboxedConnections

connections = SandboxedConnections({}, lambda: f"'{sys.argv[1]}/'", longest_use=60)
with connections.open() as first:
    scratch = Path(first.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
if (child := os.fork()) == 0:
    os._exit(scratch.exists())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child has the scratch folder of its parent"
with connections.open() as second:
    assert second is not first
connections.close()
"""


def test_a_forked_child_has_no_connection_of_its_parent(tmp_path: Path) -> None:
    run([sys.executable, "-c", IN_A_FORKED_CHILD, str(tmp_path)], check=True)


# The hook of this script runs after that of the connections, as it was registered before it.
FORKED_BESIDE_A_QUERY = """
import os, signal, sys, threading, time

def begin_a_query():
    def use():
        connections.lock_for_fork()
        time.sleep(0.3)
        connections.unlock_after_fork()
    threading.Thread(target=use).start()
    time.sleep(0.1)

os.register_at_fork(before=begin_a_query)
from marketpipe.storage.infrastructure.reading.sandboxed_connections import SandboxedConnections

connections = SandboxedConnections({}, lambda: f"'{sys.argv[1]}/'", longest_use=60)
if (child := os.fork()) == 0:
    signal.alarm(10)
    with connections.open() as connection:
        os._exit(connection.execute("SELECT 0").fetchall()[0][0])
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child waits for a thread that it does not have"
connections.close()
"""


def test_a_child_that_is_forked_while_another_thread_queries_can_query(tmp_path: Path) -> None:
    run([sys.executable, "-c", FORKED_BESIDE_A_QUERY, str(tmp_path)], check=True)


def test_the_random_numbers_of_a_query_are_not_those_of_the_seed_of_another(connections: SandboxedConnections) -> None:
    found = set[float]()
    for _ in range(2):
        with connections.open() as connection:
            connection.execute("SELECT setseed(0.42)")
        with connections.open() as connection:
            found.update(connection.execute("SELECT random()").fetchall()[0])

    assert len(found) == 2


def test_a_connection_that_was_used_for_long_is_closed() -> None:
    connections = SandboxedConnections({}, lambda: "'/nowhere/'", longest_use=0)
    with connections.open() as connection:
        scratch = scratch_of(connection)

    assert not scratch.exists()
