"""The contract of the port ``SymbolDayLeases``, for both databases and the fake. Two holders share a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import frozen

from marketpipe.ingestion.application.leases import leased_if_free
from marketpipe.ingestion.application.ports import IngestionState, SymbolDayLeases
from marketpipe.ingestion.domain.ingestion_checkpoint import LeasedDays
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.testing import FakeClock
from tests.simulation.modelled_states import STATE, ModelledComputer
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.postgres_states import LeasesByTheClock, SetClock, states_in

UNTIL = NOW.plus(timedelta(minutes=10))
MONDAY, TUESDAY, WEDNESDAY = (day("AAPL", f"2024-01-0{n}") for n in (2, 3, 4))
OTHER_SYMBOL = day("MSFT", "2024-01-03")
EXTENDED, REGULAR, LATE = SessionHours.EXTENDED, SessionHours.REGULAR, SessionHours.LATE


@frozen
class Sharing:
    """Two holders of one store. ``end_other`` acts like the end of the other's process, however it ended."""

    state: IngestionState
    one: SymbolDayLeases
    other: SymbolDayLeases
    end_other: Callable[[], None]


def _on_disk(folder: Path) -> Iterator[Sharing]:
    one, other = (SQLiteState(folder / "marketpipe.sqlite", "../data") for _ in range(2))
    yield Sharing(one, one.leases, other.leases, other.close)
    one.close()
    other.close()


def _simulated(_: Path) -> Iterator[Sharing]:
    """The other process is killed: it closes nothing."""
    computer = ModelledComputer()
    machine, (of_other, kill) = computer.process()[0], computer.process()
    one, other = (SQLiteState(STATE, "../data", machine=each) for each in (machine, of_other))
    yield Sharing(one, one.leases, other.leases, kill)
    one.close()
    computer.close()


def _in_memory(_: Path) -> Iterator[Sharing]:
    state = InMemoryIngestionState()
    other = state.shared_by("other").leases
    yield Sharing(state, state.leases, other, other.die)


def _in_postgres(url: str) -> Iterator[Sharing]:
    with states_in(url) as states:
        location, clock = states.new_location(), SetClock(NOW)
        one, other = (states.open(location, clock) for _ in range(2))
        of_one, of_other = (LeasesByTheClock(url, state, clock) for state in (one, other))
        of_one.set_clock(NOW)
        yield Sharing(one, of_one, of_other, other.close)


@pytest.fixture(params=[_on_disk, _simulated, _in_memory, _in_postgres])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sharing]:
    if request.param is _in_postgres:
        yield from _in_postgres(request.getfixturevalue("database_with_a_clock"))
    else:
        yield from request.param(tmp_path)


def take(
    leases: SymbolDayLeases, *days: SymbolDay, since: int | None = None, hours: SessionHours = EXTENDED
) -> LeasedDays:
    return leases.take(dict.fromkeys(days, hours), since, NOW, UNTIL)


def test_a_free_day_is_leased(sharing: Sharing) -> None:
    taken = take(sharing.one, MONDAY, TUESDAY, OTHER_SYMBOL)

    assert (taken.ours, dict(taken.settled), taken.busy) == ({MONDAY, TUESDAY, OTHER_SYMBOL}, {}, set())
    assert taken.holders == set()


def test_a_day_that_another_has_leased_is_not_taken_until_it_is_released(sharing: Sharing) -> None:
    first = take(sharing.one, MONDAY, TUESDAY)

    second = take(sharing.other, TUESDAY, WEDNESDAY, OTHER_SYMBOL)
    assert (second.ours, second.busy) == ({WEDNESDAY, OTHER_SYMBOL}, {TUESDAY})
    assert len(second.holders) == 1
    assert take(sharing.one, WEDNESDAY).busy == {WEDNESDAY}

    sharing.one.release(first.lease)
    assert take(sharing.other, MONDAY, TUESDAY).ours == {MONDAY, TUESDAY}


def test_releasing_one_lease_leaves_the_others(sharing: Sharing) -> None:
    first, second = take(sharing.one, MONDAY), take(sharing.one, TUESDAY)

    sharing.one.release(first.lease)

    assert take(sharing.other, MONDAY, TUESDAY).busy == {TUESDAY}
    assert sharing.one.pin(second.lease, UNTIL)
    assert not sharing.one.pin(first.lease, UNTIL)


def test_a_holder_may_lease_a_day_twice(sharing: Sharing) -> None:
    """As when its early and its late hours are asked for apart: the threads of a process wait for one another."""
    first, second = take(sharing.one, MONDAY, hours=LATE), take(sharing.one, MONDAY, hours=SessionHours.EARLY)
    assert first.ours == second.ours == {MONDAY}

    sharing.one.release(first.lease)

    assert take(sharing.other, MONDAY).busy == {MONDAY}


def test_a_lease_runs_out(sharing: Sharing) -> None:
    lease = take(sharing.one, MONDAY).lease
    wanted = {MONDAY: EXTENDED}

    assert sharing.other.take(wanted, None, UNTIL.plus(timedelta(microseconds=-1)), UNTIL).busy == {MONDAY}
    assert sharing.other.take(wanted, None, UNTIL, UNTIL.plus(timedelta(minutes=10))).ours == {MONDAY}
    assert not sharing.one.pin(lease, UNTIL.plus(timedelta(minutes=10)))
    assert sharing.one.take(wanted, None, UNTIL, UNTIL).busy == {MONDAY}


def test_a_lease_that_ran_out_and_was_not_taken_over_can_still_be_pinned(sharing: Sharing) -> None:
    lease, later = take(sharing.one, MONDAY).lease, UNTIL.plus(timedelta(minutes=10))

    assert sharing.one.pin(lease, later)
    assert sharing.other.take({MONDAY: EXTENDED}, None, UNTIL, later).busy == {MONDAY}


def test_a_pinned_lease_does_not_run_out_before_it_is_unpinned(sharing: Sharing) -> None:
    """A process that hangs while it writes would write late, over what another process has written."""
    lease, wanted, later = take(sharing.one, MONDAY).lease, {MONDAY: EXTENDED}, UNTIL.plus(timedelta(days=9999))
    sharing.one.pin(lease, UNTIL)
    take(sharing.one, TUESDAY)

    assert sharing.other.take(wanted, None, later, later).busy == {MONDAY}
    sharing.one.unpin(lease, later)
    assert sharing.other.take(wanted, None, later.plus(timedelta(microseconds=-1)), later).busy == {MONDAY}
    assert sharing.other.take(wanted, None, later, later).ours == {MONDAY}


def test_a_lease_stays_pinned_while_another_is_pinned_and_unpinned(sharing: Sharing) -> None:
    fast, lease = take(sharing.one, MONDAY).lease, take(sharing.one, TUESDAY).lease
    sharing.one.pin(fast, UNTIL)
    sharing.one.pin(lease, UNTIL)
    sharing.one.unpin(lease, UNTIL)

    taken = sharing.other.take(dict.fromkeys([MONDAY, TUESDAY], EXTENDED), None, UNTIL, UNTIL)

    assert (taken.busy, taken.ours) == ({MONDAY}, {TUESDAY})


def test_a_pinned_lease_ends_with_its_holder(sharing: Sharing) -> None:
    sharing.other.pin(take(sharing.other, MONDAY).lease, UNTIL)
    sharing.end_other()

    assert take(sharing.one, MONDAY).ours == {MONDAY}


def test_pinning_one_lease_renews_all_of_its_holder(sharing: Sharing) -> None:
    """A worker that waits for its turn at the provider cannot renew its own."""
    take(sharing.one, MONDAY)
    lease, later = take(sharing.one, TUESDAY).lease, UNTIL.plus(timedelta(minutes=10))

    assert sharing.one.pin(lease, later)
    assert sharing.other.take({MONDAY: EXTENDED}, None, UNTIL, later).busy == {MONDAY}


def test_a_worker_process_renews_the_leases_of_the_one_that_it_works_for(sharing: Sharing) -> None:
    take(sharing.one, MONDAY)
    lease, later = take(sharing.one, TUESDAY).lease, UNTIL.plus(timedelta(minutes=10))

    assert sharing.other.pin(lease, later)
    assert sharing.other.take({MONDAY: EXTENDED, TUESDAY: EXTENDED}, None, UNTIL, later).busy == {MONDAY, TUESDAY}


def test_a_lease_ends_with_its_holder(sharing: Sharing) -> None:
    take(sharing.other, MONDAY)
    sharing.end_other()

    assert take(sharing.one, MONDAY).ours == {MONDAY}


def test_a_day_that_was_settled_meanwhile_is_not_leased(sharing: Sharing) -> None:
    record(sharing.state, [answer("AAPL", "2024-01-02")])
    since = sharing.other.position()
    record(sharing.state, [answer("AAPL", "2024-01-03", Outcome.EMPTY, 0), answer("MSFT", "2024-01-02")])

    taken = take(sharing.other, MONDAY, TUESDAY, WEDNESDAY, OTHER_SYMBOL, since=since)

    assert taken.ours == {MONDAY, WEDNESDAY, OTHER_SYMBOL}
    assert {found: record.outcome for found, record in taken.settled.items()} == {TUESDAY: Outcome.EMPTY}


def test_a_day_that_was_settled_since_is_settled_though_it_is_leased(sharing: Sharing) -> None:
    since = sharing.other.position()
    take(sharing.one, MONDAY, TUESDAY)
    record(sharing.state, [answer("AAPL", "2024-01-02", rows=77)])

    taken = take(sharing.other, MONDAY, TUESDAY, since=since)

    assert (taken.settled[MONDAY].rows, taken.busy, taken.ours) == (77, {TUESDAY}, set())


def test_a_settled_day_can_be_leased_again(sharing: Sharing) -> None:
    record(sharing.state, [answer("AAPL", "2024-01-02")])

    assert take(sharing.other, MONDAY, since=None).ours == {MONDAY}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PARTIAL])
def test_a_day_that_was_not_settled_is_leased(sharing: Sharing, outcome: Outcome) -> None:
    since = sharing.other.position()
    record(sharing.state, [answer("AAPL", "2024-01-02", outcome, 10)])

    assert take(sharing.other, MONDAY, since=since).ours == {MONDAY}


@pytest.mark.parametrize(("hours", "is_settled"), [(REGULAR, True), (EXTENDED, False), (LATE, False)])
def test_only_the_wanted_hours_count(sharing: Sharing, hours: SessionHours, is_settled: bool) -> None:
    since = sharing.other.position()
    record(sharing.state, [answer("AAPL", "2024-01-02", hours=REGULAR)])

    assert (MONDAY in take(sharing.other, MONDAY, since=since, hours=hours).settled) is is_settled


def test_of_many_that_want_the_same_day_at_once_one_gets_it(sharing: Sharing) -> None:
    taken: list[LeasedDays] = []

    def want(leases: SymbolDayLeases) -> None:
        taken.extend(take(leases, day("AAPL", f"2024-02-{number:02d}")) for number in range(1, 21))

    threads = [threading.Thread(target=want, args=(leases,)) for leases in (sharing.one, sharing.other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ours = [found for one in taken for found in one.ours]
    assert len(ours) == len(set(ours)) == 20


def test_a_day_is_being_written_while_its_lease_is_pinned(sharing: Sharing) -> None:
    taken = take(sharing.one, MONDAY, OTHER_SYMBOL)
    take(sharing.one, TUESDAY)
    everything = [MONDAY, TUESDAY, WEDNESDAY, OTHER_SYMBOL]
    assert sharing.other.being_written(everything) == set()

    assert sharing.one.pin(taken.lease, UNTIL)
    for leases in (sharing.one, sharing.other):
        assert leases.being_written(everything) == {MONDAY, OTHER_SYMBOL}
        assert leases.being_written([TUESDAY, OTHER_SYMBOL]) == {OTHER_SYMBOL}
        assert leases.being_written([]) == set()

    sharing.one.unpin(taken.lease, UNTIL)
    assert sharing.other.being_written(everything) == set()


def test_a_dead_process_writes_nothing(sharing: Sharing) -> None:
    taken = take(sharing.other, MONDAY)
    assert sharing.other.pin(taken.lease, UNTIL)

    sharing.end_other()

    assert sharing.one.being_written([MONDAY]) == set()


def test_leased_days_are_counted_until_they_are_released_run_out_or_their_process_ends(sharing: Sharing) -> None:
    assert sharing.one.count(NOW) == 0
    taken = take(sharing.one, MONDAY, OTHER_SYMBOL)
    take(sharing.other, TUESDAY)
    assert sharing.one.count(NOW) == sharing.other.count(NOW) == 3

    assert sharing.one.pin(taken.lease, UNTIL)
    assert sharing.other.count(UNTIL) == 2  # what is pinned does not run out
    sharing.end_other()
    assert sharing.one.count(NOW) == 2
    sharing.one.release(taken.lease)
    assert sharing.one.count(NOW) == 0


def test_what_others_have_not_leased_is_leased_for_as_long_as_the_work_takes(sharing: Sharing) -> None:
    clock = FakeClock(str(NOW))
    take(sharing.other, TUESDAY)

    with leased_if_free(sharing.one, [MONDAY, TUESDAY, WEDNESDAY], clock) as (busy, _):
        assert busy == {TUESDAY}
        clock.advance(3600)
        later = sharing.other.take({MONDAY: EXTENDED}, None, clock.now(), clock.now().plus(timedelta(minutes=10)))
        assert later.busy == {MONDAY}
    assert take(sharing.other, MONDAY, WEDNESDAY).ours == {MONDAY, WEDNESDAY}
