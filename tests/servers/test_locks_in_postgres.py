"""The locks of all machines that share a state in PostgreSQL: the contract, and what happens to a lost holder."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from marketpipe.ingestion.infrastructure.postgres.postgres_database import PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.postgres_locks import PostgresLocks
from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresStoredState
from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.contract.test_exclusive_lock import *  # noqa: F403 - the whole contract, over another lock
from tests.contract.test_exclusive_lock import HOLDER as WHAT_HOLDS
from tests.contract.test_exclusive_lock import NewLock
from tests.support.child_processes import PIPE, Popen, start
from tests.support.postgres_server import PostgresServer

HOLDER = """
import json, sys
from marketpipe.ingestion.infrastructure.postgres.postgres_database import PostgresDatabase
from marketpipe.ingestion.infrastructure.postgres.postgres_locks import PostgresLocks

locks = PostgresLocks(*json.loads(sys.argv[1]))
with locks.lock("update", waits=False).acquired():
    print("held", flush=True)
    sys.stdin.readline()
locks.close()
"""
LOCATION = "data"
A_MOMENT = 0.2
ALIVE_BY_ITS_SIGNS_ALONE = """
CREATE OR REPLACE FUNCTION is_alive(name text) RETURNS boolean LANGUAGE sql STABLE
AS 'SELECT EXISTS (SELECT FROM holders WHERE holder = name AND beat > moment() - 30000000)'
"""
"""The server of a test has begun to run a few seconds ago, and gives all holders some time."""

Open = Callable[[], PostgresDatabase]
NewLocks = Callable[[], PostgresLocks]
"""Make the locks of one store as another process has them."""


@pytest.fixture
def opened(database_url: str) -> Iterator[Open]:
    """Open the same state once more, as another process has it."""
    with ExitStack() as undo:

        def another() -> PostgresDatabase:
            database = PostgresDatabase(database_url, LOCATION)
            undo.callback(database.close)
            return database

        yield another


@pytest.fixture
def new_locks(database_url: str) -> Iterator[NewLocks]:
    with ExitStack() as undo:

        def another() -> PostgresLocks:
            locks = PostgresLocks(database_url, LOCATION)
            undo.callback(locks.close)
            return locks

        yield another


@pytest.fixture
def new_lock(new_locks: NewLocks) -> NewLock:
    """Half of the locks are made by one process, and half by another."""
    both = [new_locks(), new_locks()]

    def make(waits: bool) -> object:
        both.reverse()
        return both[0].lock("update", waits=waits, holder=WHAT_HOLDS)

    return make


@pytest.fixture
def holder(database_url: str) -> Popen[str]:
    """Another process that holds the lock until it reads a line."""
    process = start([sys.executable, "-c", HOLDER, json.dumps([database_url, LOCATION])], stdin=PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n", process.communicate()[1]
    return process


def test_a_lock_of_another_process_is_refused_by_its_name_and_free_when_it_ends(
    new_locks: NewLocks, holder: Popen[str]
) -> None:
    lock = new_locks().lock("update", waits=False)
    with pytest.raises(StoreBusyError, match=rf"process {holder.pid} on .* holds the lock update"), lock.acquired():
        pytest.fail("two holders at once")
    holder.communicate("end\n")
    with lock.acquired():
        """Free again."""


def test_locks_for_other_purposes_and_of_other_stores_are_free(
    database_url: str, new_locks: NewLocks, holder: Popen[str]
) -> None:
    elsewhere = PostgresLocks(database_url, "another")
    others = elsewhere.lock("update", waits=False)
    with new_locks().lock("aggregation", waits=False).acquired(), others.acquired():
        """Both."""
    elsewhere.close()


def test_a_wait_ends_with_an_error_if_it_takes_too_long(new_locks: NewLocks, holder: Popen[str]) -> None:
    lock = new_locks().lock("update", waits=True, longest_wait_seconds=A_MOMENT)
    with pytest.raises(StoreBusyError, match=r"has held the lock update of this store for 0.2 s"), lock.acquired():
        pytest.fail("two holders at once")


def test_the_lock_of_a_killed_process_is_free_once_it_gives_no_sign_of_life(
    opened: Open, new_locks: NewLocks, holder: Popen[str]
) -> None:
    locks, lock = new_locks(), new_locks().lock("update", waits=True)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert locks.take("update") is None  # its last sign of life is younger than its lease
    held = threading.Event()

    def wait() -> None:
        with lock.acquired():
            held.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not held.wait(A_MOMENT)
    _let_time_pass(opened())
    assert held.wait(20)
    waiting.join()


def test_who_was_cut_off_and_lost_its_lock_is_told_so_at_the_end(opened: Open, new_locks: NewLocks) -> None:
    cut_off, other = new_locks(), new_locks()
    lock, token = cut_off.lock("update", waits=False), None
    with pytest.raises(StateError, match="has taken its lock update"), lock.acquired():  # noqa: PT012
        _let_time_pass(opened())
        token = other.take("update")
    assert token is not None
    assert new_locks().take("update") is None  # the other one's stays
    assert other.release("update", token)


def test_an_error_inside_is_not_hidden_by_the_loss_of_the_lock(opened: Open, new_locks: NewLocks) -> None:
    with pytest.raises(KeyError), new_locks().lock("update", waits=False).acquired():  # noqa: PT012
        _let_time_pass(opened())
        assert new_locks().take("update") is not None
        raise KeyError


def test_a_living_holder_keeps_its_lock_when_the_database_is_restarted(
    postgres_server: PostgresServer, new_locks: NewLocks, holder: Popen[str]
) -> None:
    lock = new_locks().lock("update", waits=False)
    postgres_server.restart("immediate")
    with pytest.raises(StoreBusyError), lock.acquired():
        pytest.fail("two holders at once")
    _, errors = holder.communicate("end\n")
    assert (holder.returncode, errors) == (0, "")
    with lock.acquired():
        """Free again."""


def test_a_lock_that_could_not_be_released_is_free_for_its_own_process(new_locks: NewLocks) -> None:
    locks = new_locks()
    token = locks.take("update")
    assert token is not None
    locks._held.clear()  # as after a release that failed
    with locks.lock("update", waits=False).acquired():
        """Free."""


def test_a_lock_does_not_keep_the_state_from_being_replaced(database_url: str, new_locks: NewLocks) -> None:
    state = PostgresStoredState(database_url, LOCATION)
    with new_locks().lock("update", waits=False).acquired():
        assert not state.is_in_use()
        state.archive(Timestamp.parse("2024-03-04T21:00:00Z"))
        with pytest.raises(StoreBusyError), new_locks().lock("update", waits=False).acquired():
            pytest.fail("two holders at once")
    with new_locks().lock("update", waits=False).acquired():
        """Free again."""


def _let_time_pass(database: PostgresDatabase) -> None:
    """Let the database have heard of nobody for longer than leases last."""
    with database.transaction() as connection:
        connection.execute(ALIVE_BY_ITS_SIGNS_ALONE, ())
        connection.execute("UPDATE holders SET beat = moment() - 60000000", ())
