from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from marketpipe.ingestion.application.leases import LEASE
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT, answer, record
from tests.support.coordination import FIRST, LAST, Coordination, coordination
from tests.support.fake_ring import stored
from tests.support.in_memory_ingestion_state import InMemoryCheckpoints, InMemoryIngestionState, Memory

TUESDAY, WEDNESDAY = day("AAPL", "2024-01-02"), day("AAPL", "2024-01-03")
BEFORE = CHECKED_AT.plus(timedelta(seconds=-1))


def _orphans(kind: SessionKind = SessionKind.EXTENDED) -> tuple[Coordination, int]:
    """A job that was killed, and Tuesday's unrecorded file, known since the moment at which the job started."""
    parts = coordination()
    job_id = parts.state.jobs.open(IngestionScope(("AAPL",), FIRST, LAST, kind), parts.clock.now())
    parts.inventory.unrecorded.add(TUESDAY)
    parts.orphans.found.append(stored(TUESDAY, 7, rejected=2, known_since=parts.clock.now()))
    return parts, job_id


@pytest.mark.parametrize("kind", SessionKind)
def test_orphan_files_of_a_killed_job_are_recorded_as_its_own_and_only_the_rest_is_planned(kind: SessionKind) -> None:
    parts, job_id = _orphans(kind)

    job = parts.coordinator.ingest(IngestionScope(("AAPL",), FIRST, LAST, kind))

    known = parts.state.known[TUESDAY]
    assert (known.outcome, known.hours, known.rejected) == (Outcome.COMPLETE, kind.hours, 2)
    assert parts.state.job_of(TUESDAY) == job_id
    assert parts.state.checkpoints.between(TUESDAY.symbol, FIRST, FIRST)[FIRST].rows == 7
    assert (job.planned, job.settled, list(job.outcomes)) == (1, 1, [WEDNESDAY])


def test_the_latest_job_that_may_have_written_a_file_is_its_author() -> None:
    parts, job_id = _orphans()
    later = parts.state.jobs.open(IngestionScope(("AAPL",), FIRST, LAST), parts.clock.now())
    parts.state.jobs.open(IngestionScope(("AAPL",), FIRST, LAST), parts.clock.now().plus(timedelta(seconds=1)))

    parts.ingest("AAPL")

    assert job_id < later
    assert parts.state.job_of(TUESDAY) == later


def test_a_damaged_file_is_requested_again() -> None:
    parts, _ = _orphans()
    parts.orphans.found[:] = [stored(TUESDAY, 7, known_since=parts.clock.now(), error="damaged")]

    assert parts.ingest("AAPL").planned == 2


def test_a_file_that_is_older_than_the_job_is_requested_again() -> None:
    parts, _ = _orphans()
    parts.orphans.found[:] = [stored(TUESDAY, 7, known_since=BEFORE)]

    assert parts.ingest("AAPL").planned == 2


def test_a_day_with_a_checkpoint_is_not_adopted() -> None:
    parts, _ = _orphans()
    record(parts.state, [answer("AAPL", "2024-01-02", Outcome.FAILED, 0)])

    assert parts.ingest("AAPL").planned == 2


def test_files_of_days_that_another_process_has_leased_are_not_adopted() -> None:
    parts, job_id = _orphans()
    now = parts.clock.now()
    neighbour = parts.state.shared_by("neighbour").leases
    neighbour.take({TUESDAY: SessionHours.EXTENDED}, None, now, now.plus(LEASE))

    parts.ingest("AAPL")  # waits, as far as the fake clock is concerned, until the lease has run out

    assert parts.state.job_of(TUESDAY) != job_id


class _DiesAtItsSecondRecord(InMemoryCheckpoints):
    """Fails to record once, at the second call."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self._calls = 0

    def record(self, job_id: int, checked_at: Timestamp, answers: Sequence[Answer]) -> None:
        self._calls += 1
        if self._calls == 2:
            raise StateError("killed here")
        super().record(job_id, checked_at, answers)


def test_an_adoption_that_dies_between_two_jobs_loses_nothing_and_the_next_one_goes_on() -> None:
    parts = coordination(state=InMemoryIngestionState(_DiesAtItsSecondRecord))
    started = parts.clock.now()
    # Each job has one of the two days in its scope, so that each file has another author.
    jobs = {day: parts.state.jobs.open(_only(day), started) for day in (TUESDAY, WEDNESDAY)}
    parts.inventory.unrecorded |= jobs.keys()
    parts.orphans.found.extend(stored(day, 7, known_since=started) for day in jobs)

    with pytest.raises(StateError, match="killed here"):
        parts.ingest("AAPL")
    assert len(parts.state.known) == 1
    job = parts.ingest("AAPL")

    assert {day: parts.state.job_of(day) for day in jobs} == jobs
    assert (job.planned, job.settled) == (0, 2)


def _only(day: SymbolDay) -> IngestionScope:
    return IngestionScope(("AAPL",), day.trading_date, day.trading_date)
