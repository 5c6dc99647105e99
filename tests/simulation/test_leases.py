"""Leases on a modelled machine: each call of a holder fails, or is its last, and two holders never have one day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import define, field

from marketpipe.ingestion.application.leases import LEASE
from marketpipe.ingestion.domain.ingestion_checkpoint import LeasedDays
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from tests.simulation.databases import ModelledDatabases
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.simulated_machine import machine_of
from tests.simulation.story import Fault
from tests.simulation.traits import DiskTraits
from tests.support.builders import day
from tests.support.examples import ALL, tries_more

START: Final = Timestamp.parse("2024-03-04T12:00:00Z")
STATE: Final = Path(PLACE) / "state.sqlite"
DAYS: Final = tuple(day(symbol, "2024-03-01") for symbol in ("AAPL", "MSFT", "SPY"))
FAULTS: Final = ("kill", "errno:EIO", "errno:ENOSPC")
COMMIT_FAULTS: Final = ("lost commit", "repeated commit")
Act = Callable[["Holder"], None]


@define
class Holder:
    """One process with the state open. ``had`` are the days that it may write now, as far as it knows."""

    world: World
    process: Process
    state: SQLiteState
    had: set[SymbolDay] = field(factory=set)

    def takes(self) -> LeasedDays:
        now = self.process.clock.now()
        return self.state.leases.take(dict.fromkeys(DAYS, SessionHours.EXTENDED), None, now, now.plus(LEASE))

    def works(self) -> None:
        """Lease the days, write something for a while, and release them."""
        leases, clock, taken = self.state.leases, self.process.clock, self.takes()
        try:
            if leases.pin(taken.lease, clock.now().plus(LEASE)):
                self.had |= taken.ours
                self.world.check()
                clock.sleep(1.0)
                self.had.clear()
                leases.unpin(taken.lease, clock.now().plus(LEASE))
        finally:
            leases.release(taken.lease)
        assert not leases.being_written(DAYS) & taken.ours
        leases.count(clock.now())


@define(eq=False)
class World:
    """One machine with one state. Each act is a process of its own."""

    seed: int = 1
    boot: int = 1
    scheduler: Scheduler = field(init=False)
    disk: ModelledDisk = field(init=False)
    databases: ModelledDatabases = field(init=False)
    holders: list[Holder] = field(factory=list)
    started: list[Process] = field(factory=list)
    shared: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.scheduler = Scheduler(f"{self.seed}", 0.3)
        self.disk = ModelledDisk(DiskTraits(), lambda: int(self.scheduler.now * 1e9), "1")
        self.databases = ModelledDatabases(self.disk)

    def processes(self) -> Sequence[Process]:
        return self.started

    def run(self, *acts: Act, faults: Sequence[Fault] = ()) -> list[BaseException | None]:
        """Run the acts at once; the first one has the faults. Return their errors."""
        errors: list[BaseException | None] = [None] * len(acts)
        for number, act in enumerate(acts):
            process = Process(self.scheduler, 1000 + len(self.started), START).with_faults(() if number else faults)
            process.at_death += [self.disk.end, self.databases.end]
            process.runs_on(machine_of(self, process, f"{self.seed}/{len(self.started)}"))  # type: ignore[arg-type]
            self.started.append(process)
            self.scheduler.start(process, "main", lambda p=process, a=act, n=number: self._act(p, a, errors, n))
        self.scheduler.run()
        return errors

    def check(self) -> None:
        """Remember it if two processes that live may write one day."""
        having = Counter(each for holder in self.holders if not holder.process.dead for each in holder.had)
        self.shared += [str(each) for each, count in having.items() if count > 1]

    def close(self) -> None:
        self.scheduler.close()
        self.databases.close()

    def _act(self, process: Process, act: Act, errors: list[BaseException | None], number: int) -> None:
        try:
            holder = Holder(self, process, SQLiteState(STATE, "data", machine=process.machine()))
            self.holders.append(holder)
            try:
                act(holder)
            finally:
                holder.state.close()
        except StateError as error:
            errors[number] = error


@contextmanager
def new_world(seed: int = 1) -> Iterator[World]:
    """A state that one process has made."""
    world = World(seed)
    try:
        assert world.run(opens) == [None]
        yield world
        assert world.scheduler.failures == []
    finally:
        world.close()


def opens(_: Holder) -> None:
    """Open and close the state."""


def works(holder: Holder) -> None:
    holder.works()


def calls_of_a_holder(seed: int = 1) -> Mapping[str, int]:
    with new_world(seed) as world:
        assert world.run(works) == [None]
        return world.started[-1].calls


def faults_of(calls: Mapping[str, int]) -> Iterator[Fault]:
    """Yield each fault at each call; in ``make test`` one of them at each call that is no commit."""
    for place, (call, count) in enumerate(sorted(calls.items())):
        for nth in range(1, count + 1):
            if call in ("sleep", "pause"):
                continue
            some = FAULTS if ALL else (FAULTS[0], FAULTS[1 + (place + nth) % 2])
            for kind in (*some, *(COMMIT_FAULTS if call == "sql COMMIT" else ())):
                yield Fault(kind, call, nth)


@tries_more
def test_whatever_fails_the_next_process_has_all_days_at_once() -> None:
    wrong, happened = list[str](), Counter[str]()
    for fault in faults_of(calls_of_a_holder()):
        with new_world() as world:
            (error,) = world.run(works, faults=[fault])
            happened[fault.kind] += len(world.started[-1].happened)
            if error is not None and str(STATE) not in str(error):
                wrong.append(f"{fault.text()}: {error}")
            if world.run(works) != [None] or world.shared:
                wrong.append(fault.text())
            wrong += [f"{fault.text()}: {failure}" for failure in world.scheduler.failures]
            world.scheduler.failures.clear()
    assert wrong == [], "\n".join(wrong)
    assert set(happened) == {*FAULTS, *COMMIT_FAULTS}
    assert min(happened.values()) >= 3


@tries_more
@pytest.mark.parametrize("seed", range(12 if ALL else 4))
def test_two_processes_never_have_one_day_whichever_dies_when(seed: int) -> None:
    calls = sorted(calls_of_a_holder(seed).items())
    call, count = calls[seed * 7 % len(calls)]
    with new_world(seed) as world:
        errors = world.run(works, works, works, faults=[Fault("kill", call, 1 + seed % count)])

        assert (errors, world.shared) == ([None] * 3, [])


def test_a_day_whose_holder_hangs_is_free_when_its_lease_has_ended() -> None:
    found = dict[str, Any]()

    def hangs(holder: Holder) -> None:
        taken = holder.takes()
        holder.process.clock.sleep(LEASE.total_seconds() + 60)
        found["still ours"] = holder.state.leases.pin(taken.lease, holder.process.clock.now().plus(LEASE))

    def waits(holder: Holder) -> None:
        for minute in (1, 6, 11):
            holder.process.clock.sleep(minute * 60 - holder.world.scheduler.now)
            taken = holder.takes()
            found[str(minute)] = len(taken.ours)

    with new_world() as world:
        assert world.run(hangs, waits) == [None, None]
    assert found == {"1": 0, "6": 0, "11": 3, "still ours": False}
