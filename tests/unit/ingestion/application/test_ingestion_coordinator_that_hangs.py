"""A holder that hangs longer than its lease, and wakes: it overwrites nothing that others have found out meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from marketpipe.ingestion.application.leases import LEASE
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer, LeasedDays
from marketpipe.ingestion.domain.ingestion_job import JobState
from marketpipe.shared_kernel.domain.errors import ProviderUnavailableError
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.shared_kernel.events import BarsExhausted, BarsStored, BarsValidated
from tests.support.builders import day
from tests.support.checkpoints import answer, record
from tests.support.coordination import FIRST, LAST, Coordination, coordination
from tests.support.fake_ring import stored
from tests.support.in_memory_ingestion_state import InMemoryCheckpoints, InMemoryIngestionState, Memory

DAYS = [day("AAPL", str(date)) for date in (FIRST, LAST)]


class _Neighbour:
    def __init__(self, parts: Coordination) -> None:
        self._parts, self._leases = parts, parts.state.shared_by("neighbour").leases

    def tries(self, days: Sequence[SymbolDay] = DAYS) -> LeasedDays:
        """When every lease that can run out has."""
        self._parts.clock.advance(LEASE.total_seconds() + 1)
        now = self._parts.clock.now()
        return self._leases.take(dict.fromkeys(days, SessionHours.EXTENDED), None, now, now.plus(LEASE))

    def takes_over(self, outcome: Outcome, rows: int) -> None:
        taken = self.tries()
        assert taken.ours == set(DAYS)
        record(self._parts.state, [answer("AAPL", str(found.trading_date), outcome, rows) for found in DAYS])
        self._leases.release(taken.lease)


class _WatchedCheckpoints(InMemoryCheckpoints):
    """``recorded``: the outcomes, write by write."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.recorded: list[set[Outcome]] = []

    def record(self, job_id: int, checked_at: Timestamp, answers: Sequence[Answer]) -> None:
        self.recorded.append({result.outcome for result, _, _ in answers})
        super().record(job_id, checked_at, answers)


def _hanging(moment: type[BarsValidated | BarsStored], **ring: object) -> tuple[Coordination, list[LeasedDays]]:
    """A ring with validation in it; when ``moment`` has passed, a neighbour tries to take the days over."""
    parts = coordination(**ring)
    neighbour, tried = _Neighbour(parts), list[LeasedDays]()
    parts.bus.subscribe(BarsValidated, lambda event: parts.guard.pin(event.request))
    parts.bus.subscribe(moment, lambda _: tried.append(neighbour.tries()))

    def validate() -> None:
        parts.bus.publish(BarsValidated(parts.ring.requests[-1], None, None))  # type: ignore[arg-type]

    parts.ring.happens = {"AAPL": validate}
    return parts, tried


def test_days_that_are_being_written_are_not_taken_over_however_long_that_takes() -> None:
    parts, tried = _hanging(BarsValidated)

    job = parts.ingest("AAPL")

    assert [(found.busy, found.ours) for found in tried] == [(set(DAYS), set())]
    assert (job.state, len(parts.ring.requests)) == (JobState.COMPLETED, 1)


def test_days_that_are_written_and_recorded_can_be_taken_over() -> None:
    parts, tried = _hanging(BarsStored)

    parts.ingest("AAPL")

    assert [found.ours for found in tried] == [set(DAYS)]


@pytest.mark.parametrize("how", ["nothing", "an error"])
@pytest.mark.parametrize(("outcome", "rows"), [(Outcome.COMPLETE, 390), (Outcome.PARTIAL, 10)])
def test_a_process_that_wakes_late_with_no_bars_overwrites_nothing(how: str, outcome: Outcome, rows: int) -> None:
    watched = list[_WatchedCheckpoints]()

    def new_checkpoints(memory: Memory) -> _WatchedCheckpoints:
        watched.append(_WatchedCheckpoints(memory))
        return watched[-1]

    parts = coordination(state=InMemoryIngestionState(new_checkpoints))
    neighbour = _Neighbour(parts)

    def wake() -> None:
        parts.ring.happens = {}
        neighbour.takes_over(outcome, rows)
        if how == "an error":
            raise ProviderUnavailableError("503")
        parts.bus.publish(BarsExhausted(parts.ring.requests[-1]))

    parts.ring.happens = {"AAPL": wake}

    job = parts.ingest("AAPL")

    assert watched[0].recorded in ([{outcome}], [{outcome}, {Outcome.COMPLETE}])
    assert job.state is JobState.COMPLETED
    assert {found.outcome for found in job.outcomes.values()} == {Outcome.COMPLETE}


def test_a_part_of_a_batch_that_is_written_does_not_keep_its_lease_from_running_out() -> None:
    """Between two pages of one batch the provider may be silent for ever."""
    parts = coordination()
    neighbour, tried = _Neighbour(parts), list[LeasedDays]()
    parts.bus.subscribe(BarsValidated, lambda event: parts.guard.pin(event.request))

    def first_page() -> None:
        request = parts.ring.requests[-1]
        parts.bus.publish(BarsValidated(request, None, None))  # type: ignore[arg-type]
        parts.bus.publish(BarsStored(request, (stored(DAYS[0]),)))
        tried.append(neighbour.tries(DAYS[1:]))

    parts.ring.happens = {"AAPL": first_page}
    parts.ingest("AAPL")

    assert tried[0].ours == {DAYS[1]}
