"""Leases around a removal and a wait. ``tests/contract/test_symbol_day_leases.py`` has the rest."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import pytest

from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.application.leases import LEASE, LeasedBatches, LeaseGuard, leased_for_removal, leased_if_free
from marketpipe.ingestion.application.ports import SymbolDayLeases
from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_checkpoint import LeasedDays
from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.testing import FakeClock, bars_request
from tests.support.builders import CALENDAR, day
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory

REQUEST = bars_request(("AAPL",), "2024-01-02", "2024-01-03")
MONDAY, TUESDAY = day("AAPL", "2024-01-02"), day("AAPL", "2024-01-03")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock("2024-06-01T12:00:00Z")


@pytest.fixture
def ours() -> InMemoryIngestionState:
    return InMemoryIngestionState()


@pytest.fixture
def others(ours: InMemoryIngestionState) -> SymbolDayLeases:
    return ours.shared_by("another").leases


def taken(leases: SymbolDayLeases, clock: FakeClock, *days: SymbolDay) -> LeasedDays:
    return leases.take(dict.fromkeys(days, SessionHours.EXTENDED), None, clock.now(), clock.now().plus(LEASE))


def test_nothing_can_be_written_without_a_lease_and_nothing_has_to_be_unpinned(
    ours: InMemoryIngestionState, clock: FakeClock
) -> None:
    guard, without = LeaseGuard(ours.leases, clock), REQUEST

    with pytest.raises(StoreBusyError, match="no lease was taken"):
        guard.pin(without)
    guard.unpin(without)


def test_what_is_removed_is_leased_for_as_long_as_that_takes(
    ours: InMemoryIngestionState, others: SymbolDayLeases, clock: FakeClock
) -> None:
    with leased_for_removal(ours.leases, [MONDAY, TUESDAY], clock):
        clock.advance(3600)
        assert taken(others, clock, MONDAY, TUESDAY).busy == {MONDAY, TUESDAY}

    assert taken(others, clock, MONDAY, TUESDAY).ours == {MONDAY, TUESDAY}


@pytest.mark.parametrize("busy", [[MONDAY], [MONDAY, TUESDAY]])
def test_nothing_is_removed_while_another_process_works_on_a_day_of_it(
    ours: InMemoryIngestionState, others: SymbolDayLeases, clock: FakeClock, busy: Collection[SymbolDay]
) -> None:
    theirs = taken(others, clock, *busy)

    refused = pytest.raises(
        StoreBusyError, match="another process works on AAPL 2024-01-02: nothing of AAPL was dropped"
    )
    with refused, leased_for_removal(ours.leases, [MONDAY, TUESDAY], clock):
        pytest.fail("the removal began")

    others.release(theirs.lease)
    assert taken(others, clock, MONDAY, TUESDAY).ours == {MONDAY, TUESDAY}


def test_a_removal_that_fails_leaves_no_lease(
    ours: InMemoryIngestionState, others: SymbolDayLeases, clock: FakeClock
) -> None:
    with pytest.raises(OSError, match="disk"), leased_for_removal(ours.leases, [MONDAY], clock):
        raise OSError("disk")

    assert taken(others, clock, MONDAY).ours == {MONDAY}


def test_work_on_free_days_confirms_that_nobody_has_taken_them_over(
    ours: InMemoryIngestionState, others: SymbolDayLeases, clock: FakeClock
) -> None:
    theirs = taken(others, clock, MONDAY)
    with leased_if_free(ours.leases, [MONDAY, TUESDAY], clock) as (busy, confirm):
        assert busy == {MONDAY}
        confirm()
        ours.leases.release(theirs.lease + 1)  # as if it had run out, and another process had taken the day over
        with pytest.raises(StoreBusyError, match="took the symbol-days over"):
            confirm()


def test_a_job_that_is_interrupted_while_it_waits_for_others_takes_nothing_up_again(
    ours: InMemoryIngestionState, others: SymbolDayLeases, clock: FakeClock
) -> None:
    scheduler = JobScheduler(CALENDAR, SessionFinality(timedelta()), PackingLimits(10_000, symbols_per_request=1))
    planner = IngestionPlanner(scheduler, ours.checkpoints, ours.statistics, InMemoryInventory(ours.checkpoints), clock)
    batches = LeasedBatches(ours.leases, planner, clock)
    for interrupted in (False, True):
        batches.begin()
        with batches.leased(REQUEST) as (_, parts):
            assert parts == (REQUEST,)
        theirs = taken(others, clock, MONDAY, TUESDAY)
        with batches.leased(REQUEST) as (days, parts):
            assert (days.busy, parts) == ({MONDAY, TUESDAY}, ())
        others.release(theirs.lease)
        if interrupted:
            clock.interrupt()
        assert batches.take_postponed() == (() if interrupted else (REQUEST,))
