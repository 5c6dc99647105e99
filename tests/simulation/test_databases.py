"""Databases of the modelled disk: what a death, a fault or a power loss leaves of a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.databases import ModelledDatabases
from tests.simulation.disk.model import ModelledDisk
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.story import Fault
from tests.simulation.traits import DiskTraits

START = Timestamp.parse("2024-03-04T12:00:00Z")
PATH = "/proc/world/state.sqlite"
Act = Callable[[sqlite3.Connection], object]


@define
class Machine:
    """One disk with one database; each ``run`` is a process of its own."""

    scheduler: Scheduler = field(factory=lambda: Scheduler("1", 0.5))
    disk: ModelledDisk = field(factory=lambda: ModelledDisk(DiskTraits(), lambda: 5, "1"))
    databases: ModelledDatabases = field(init=False)
    number: int = 0

    def __attrs_post_init__(self) -> None:
        self.databases = ModelledDatabases(self.disk)

    def run(self, *acts: Act, faults: Sequence[Fault] = (), timeout: float = 30.0) -> list[Any]:
        """Run each act in a process of its own, all at once; the first has the faults. Return results and errors."""
        results: list[Any] = [None] * len(acts)
        for position, act in enumerate(acts):
            self.number += 1
            process = Process(self.scheduler, self.number, START).with_faults(faults if position == 0 else ())
            process.at_death += [self.disk.end, self.databases.end]
            self.scheduler.start(
                process, "main", lambda at=position, p=process, a=act: self._act(results, at, p, a, timeout)
            )
        self.scheduler.run()
        return results

    def _act(self, results: list[Any], position: int, process: Process, act: Act, timeout: float) -> None:
        connection = self.databases.connect(process)(PATH, timeout=timeout, isolation_level=None)
        try:
            results[position] = act(connection)
        except sqlite3.Error as error:
            results[position] = error.sqlite_errorcode
        connection.close()

    def rows(self) -> list[int]:
        return self.run(lambda state: [row[0] for row in state.execute("SELECT n FROM t ORDER BY n")])[0]


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    made.run(prepared)
    yield made
    made.databases.close()
    made.scheduler.close()
    assert made.scheduler.failures == []


def prepared(state: sqlite3.Connection) -> None:
    state.execute("PRAGMA journal_mode = WAL")
    state.execute("CREATE TABLE t (n INTEGER)")


def adding(number: int, *, synced: bool = False) -> Act:
    def add(state: sqlite3.Connection) -> None:
        state.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        state.execute("BEGIN IMMEDIATE")
        state.execute("INSERT INTO t VALUES (?)", (number,))
        state.execute("COMMIT")

    return add


def test_what_was_committed_stays(machine: Machine) -> None:
    machine.run(adding(1))
    assert machine.rows() == [1]


@pytest.mark.parametrize(("call", "rows"), [("sql INSERT", []), ("sql COMMIT", []), ("sql COMMITTED", [1])])
def test_a_death_rolls_back_what_was_not_committed(machine: Machine, call: str, rows: list[int]) -> None:
    machine.run(adding(1), faults=[Fault("kill", call, 1)])
    assert machine.rows() == rows


def test_a_lost_commit_raises_and_has_not_happened(machine: Machine) -> None:
    fault = Fault("lost commit", "sql COMMIT", 1, "full")
    assert machine.run(adding(1), faults=[fault]) == [sqlite3.SQLITE_FULL]
    assert machine.rows() == []


def test_a_repeated_commit_raises_and_has_happened(machine: Machine) -> None:
    assert machine.run(adding(1), faults=[Fault("repeated commit", "sql COMMIT", 1)]) == [sqlite3.SQLITE_IOERR]
    assert machine.rows() == [1]


def test_an_error_of_the_disk_is_one_of_sqlite(machine: Machine) -> None:
    assert machine.run(adding(1), faults=[Fault("errno:ENOSPC", "sql INSERT", 1)]) == [sqlite3.SQLITE_FULL]
    assert machine.rows() == []


def test_a_writer_waits_for_another_one_on_the_clock_of_the_world(machine: Machine) -> None:
    scheduler = machine.scheduler

    def slow(state: sqlite3.Connection) -> None:
        state.execute("BEGIN IMMEDIATE")
        scheduler.sleep(10)
        state.execute("INSERT INTO t VALUES (1)")
        state.execute("COMMIT")

    def later(state: sqlite3.Connection) -> None:
        scheduler.sleep(1)
        adding(2)(state)

    assert machine.run(slow, later) == [None, None]
    assert machine.run(slow, later, timeout=3.0) == [None, sqlite3.SQLITE_BUSY]
    assert machine.rows() == [1, 1, 2]


def test_a_power_loss_takes_only_commits_after_the_last_synced_one() -> None:
    kept = set[tuple[int, ...]]()
    for seed in range(20):
        machine = Machine()
        machine.run(prepared, timeout=1)
        machine.run(adding(1, synced=True))
        machine.run(adding(2))
        machine.run(adding(3))
        machine.disk.lose_power(Random(seed))
        machine.databases.lose_power(Random(seed))
        kept.add(tuple(machine.rows()))
        machine.databases.close()
        machine.scheduler.close()
    assert kept == {(1,), (1, 2), (1, 2, 3)}


def test_a_database_keeps_its_content_under_another_name(machine: Machine) -> None:
    machine.run(adding(1))
    machine.disk.outside.replace(PATH, f"{PATH}.bak")
    machine.run(prepared)
    assert machine.rows() == []
    machine.disk.outside.replace(f"{PATH}.bak", PATH)
    assert machine.rows() == [1]


def test_nothing_is_committed_on_a_full_disk(machine: Machine) -> None:
    machine.disk.space = 0
    assert machine.run(adding(1)) == [sqlite3.SQLITE_FULL]
    machine.disk.space = None
    assert machine.rows() == []


def test_a_read_only_disk_can_be_read_as_one_that_nobody_changes(machine: Machine) -> None:
    machine.run(adding(1))
    machine.disk.read_only = True
    assert machine.run(adding(2)) == [sqlite3.SQLITE_CANTOPEN]
    process = Process(machine.scheduler, 99, START)
    found = list[Any]()

    def read() -> None:
        uri = f"file://{PATH}?immutable=1"
        with machine.databases.connect(process)(uri, uri=True, isolation_level=None) as state:
            found.extend(state.execute("SELECT n FROM t"))
        state.close()

    machine.scheduler.start(process, "main", read)
    machine.scheduler.run()
    assert found == [(1,)]


def test_a_folder_has_no_database(machine: Machine) -> None:
    machine.disk.outside.unlink(PATH)
    machine.disk.outside.mkdir(PATH)
    results = list[Any]()
    process = Process(machine.scheduler, 99, START)

    def open_it() -> None:
        with pytest.raises(sqlite3.OperationalError) as raised:
            machine.databases.connect(process)(PATH)
        results.append(raised.value.sqlite_errorcode)

    machine.scheduler.start(process, "main", open_it)
    machine.scheduler.run()
    assert results == [sqlite3.SQLITE_CANTOPEN]


def test_a_bit_of_a_database_flips(machine: Machine) -> None:
    machine.run(adding(1))
    machine.databases.rot(PATH, 3)
    assert machine.run(lambda state: state.execute("SELECT n FROM t").fetchall()) == [sqlite3.SQLITE_NOTADB]
