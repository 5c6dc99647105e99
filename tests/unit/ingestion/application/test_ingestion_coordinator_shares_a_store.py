"""Two coordinators over one state: what one holds, the other leaves, waits for, and takes over."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from marketpipe.ingestion.application.leases import LEASE, RETRY_SECONDS
from marketpipe.ingestion.domain.ingestion_checkpoint import LeasedDays
from marketpipe.ingestion.domain.ingestion_job import JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.shared_kernel.domain.errors import CredentialsError, ProviderUnavailableError
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.shared_kernel.events import BarsRequested, BarsValidated, Event, LeasesAwaited, SymbolDaysRecorded
from marketpipe.testing import FakeClock
from tests.support.builders import day
from tests.support.checkpoints import answer, record
from tests.support.coordination import EXECUTORS, FIRST, LAST, Coordination, coordination

NewExecutor = Callable[[], Executor]
DAYS = {f"{symbol} {date}" for symbol in ("AAPL", "MSFT") for date in (FIRST, LAST)}


@pytest.fixture(params=list(EXECUTORS))
def new_executor(request: pytest.FixtureRequest) -> NewExecutor:
    return EXECUTORS[request.param]


class _Neighbour:
    """Another process that works on the same store, and does something whenever this one waits."""

    def __init__(self, parts: Coordination) -> None:
        self._parts, self.leases = parts, parts.state.shared_by("neighbour").leases
        self.taken: list[int] = []

    def takes(self, *days: SymbolDay) -> LeasedDays:
        now = self._parts.clock.now()
        taken = self.leases.take(dict.fromkeys(days, SessionHours.EXTENDED), None, now, now.plus(LEASE))
        self.taken.append(taken.lease)
        return taken

    def settles(self, *days: SymbolDay) -> None:
        record(self._parts.state, [answer(str(found.symbol), str(found.trading_date)) for found in days])

    def lets_go(self) -> None:
        for lease in self.taken:
            self.leases.release(lease)


class _WatchedClock(FakeClock):
    """``after``: what happens at the so-and-so-manieth sleep, from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.after: dict[int, Callable[[], None]] = {}

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.after.pop(len(self.slept), lambda: None)()


def shared(new_executor: NewExecutor, **ring: object) -> tuple[Coordination, _Neighbour, _WatchedClock]:
    clock = _WatchedClock()
    parts = coordination(new_executor, clock=clock, **ring)
    return parts, _Neighbour(parts), clock


def asked(parts: Coordination) -> list[str]:
    return sorted(str(found) for request in parts.ring.requests for found in request.symbol_days)


def test_what_another_holds_is_waited_for_and_counts_when_it_is_settled(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    held = day("AAPL", str(FIRST))
    neighbour.takes(held)
    clock.after = {3: lambda: (neighbour.settles(held), neighbour.lets_go())[0]}

    job = parts.ingest("AAPL", "MSFT")

    assert asked(parts) == sorted(DAYS - {str(held)})
    assert (job.state, job.planned, job.left) == (JobState.COMPLETED, 4, 0)
    assert job.outcomes[held].outcome is Outcome.COMPLETE
    assert clock.slept == [RETRY_SECONDS] * 3
    told = [str(one.symbol_day) for e in parts.events if isinstance(e, SymbolDaysRecorded) for one in e.outcomes]
    assert sorted(told) == sorted(DAYS)


def test_a_wait_for_another_is_an_event_as_it_begins_and_every_ten_seconds(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    held = [day("AAPL", str(FIRST)), day("AAPL", str(LAST))]
    neighbour.takes(*held)
    clock.after = {50: lambda: (neighbour.settles(*held), neighbour.lets_go())[0]}

    parts.ingest("AAPL", "MSFT")

    waits = [event for event in parts.events if isinstance(event, LeasesAwaited)]
    assert waits == [LeasesAwaited(2, 0.0, ("neighbour",)), LeasesAwaited(2, 10.0, ("neighbour",))]


def test_each_wait_begins_at_zero(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    held = [day("AAPL", str(FIRST)), day("AAPL", str(LAST))]
    neighbour.takes(*held)
    clock.after = {2: lambda: neighbour.settles(held[0]), 4: lambda: neighbour.settles(held[1])}

    parts.ingest("AAPL")

    waits = [event for event in parts.events if isinstance(event, LeasesAwaited)]
    assert waits == [LeasesAwaited(2, 0.0, ("neighbour",)), LeasesAwaited(1, 0.0, ("neighbour",))]


def test_what_another_drops_is_taken_over(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    neighbour.takes(day("AAPL", str(FIRST)), day("AAPL", str(LAST)))
    clock.after = {2: neighbour.leases.die}

    job = parts.ingest("AAPL", "MSFT")

    assert asked(parts) == sorted(DAYS)
    assert [str(request.symbols[0]) for request in parts.ring.requests] == ["MSFT", "AAPL"]
    assert (job.state, job.left) == (JobState.COMPLETED, 0)


def test_a_lease_that_ran_out_is_taken_over(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    neighbour.takes(day("AAPL", str(FIRST)))
    clock.after = {1: lambda: clock.advance(LEASE.total_seconds())}

    assert parts.ingest("AAPL").state is JobState.COMPLETED
    assert len(asked(parts)) == 2


def test_days_settled_since_the_plan_was_made_are_not_asked_for() -> None:
    parts, neighbour, clock = shared(EXECUTORS["inline"])
    parts.ring.happens = {"AAPL": lambda: neighbour.settles(day("MSFT", str(FIRST)), day("MSFT", str(LAST)))}

    job = parts.ingest("AAPL", "MSFT")

    assert asked(parts) == sorted(f"AAPL {date}" for date in (FIRST, LAST))
    assert (job.state, job.left, clock.slept) == (JobState.COMPLETED, 0, [])


def test_stop_ends_the_wait_for_another(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    neighbour.takes(day("AAPL", str(FIRST)))
    clock.after = {2: parts.coordinator.stop}

    job = parts.ingest("AAPL")

    assert (job.state, job.left) == (JobState.INTERRUPTED, 1)
    assert parts.latest_job.state == "interrupted"
    assert asked(parts) == [f"AAPL {LAST}"]


def test_nothing_is_leased_when_a_job_has_ended_however_it_ended(new_executor: NewExecutor) -> None:
    for happening in (ProviderUnavailableError("503"), CredentialsError("401"), ZeroDivisionError("a bug")):
        parts, neighbour, _ = shared(new_executor, happens={"AAPL": happening})
        try:
            parts.ingest("AAPL", "MSFT")
        except (CredentialsError, ZeroDivisionError):
            """Expected of those."""
        assert len(neighbour.takes(*(day(*name.split()) for name in DAYS)).ours) == 4


def test_requesting_again_ignores_what_another_process_settled(new_executor: NewExecutor) -> None:
    parts, neighbour, clock = shared(new_executor)
    held = day("AAPL", str(FIRST))
    neighbour.settles(held)
    neighbour.takes(held)
    clock.after = {2: lambda: (neighbour.settles(held), neighbour.lets_go())[0]}

    scope = IngestionScope(["AAPL"], FIRST, LAST)
    job = parts.coordinator.ingest_again(scope, {Symbol("AAPL"): frozenset({FIRST})})

    assert (job.state, asked(parts), len(clock.slept)) == (JobState.COMPLETED, [str(held)], 2)


def test_a_suspect_day_is_requested_though_it_is_settled(new_executor: NewExecutor) -> None:
    parts, _, _ = shared(new_executor)
    parts.ingest("AAPL")
    parts.ring.requests.clear()

    job = parts.coordinator.ingest(IngestionScope(["AAPL"], FIRST, LAST), [day("AAPL", str(FIRST))])

    assert (job.state, asked(parts)) == (JobState.COMPLETED, [f"AAPL {FIRST}"])


def test_bars_of_days_that_another_process_took_over_are_not_stored_but_postponed() -> None:
    parts, neighbour, clock = shared(EXECUTORS["inline"])
    parts.bus.subscribe(BarsValidated, lambda event: parts.guard.pin(event.request))
    hung: list[Event] = []

    def hang(event: BarsRequested) -> None:
        """Until the lease has run out, and another process has taken the days; then validated bars arrive."""
        if not hung:
            hung.append(event)
            clock.advance(LEASE.total_seconds() + 1)
            neighbour.takes(*event.request.symbol_days)
            parts.bus.publish(BarsValidated(event.request, None, None))  # type: ignore[arg-type]

    parts.ring.happens = {"AAPL": lambda: hang(BarsRequested(parts.ring.requests[-1]))}
    clock.after = {2: neighbour.lets_go}

    job = parts.ingest("AAPL")

    assert (job.state, job.left) == (JobState.COMPLETED, 0)
    assert len(parts.ring.requests) == 2
    assert len(clock.slept) == 2


def test_two_coordinators_ask_for_everything_once() -> None:
    parts = coordination(lambda: ThreadPoolExecutor(2))
    other = coordination(lambda: ThreadPoolExecutor(2), state=parts.state.shared_by("another"))
    symbols = [f"S{number}" for number in range(20)]
    parts.ring.happens = {symbols[0]: lambda: _finish(other, symbols)}

    job = parts.ingest(*symbols)

    assert job.state is JobState.COMPLETED
    everything = asked(parts) + asked(other)
    assert len(everything) == len(set(everything)) == 40


def _finish(other: Coordination, symbols: list[str]) -> None:
    """All but what is held here: the wait for that is ended from outside."""
    other.clock.sleep = lambda _: other.coordinator.stop()  # type: ignore[method-assign]
    assert other.ingest(*symbols).state is JobState.INTERRUPTED
