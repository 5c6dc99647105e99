from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
from marketpipe.ingestion.domain.ingestion_job import JobState
from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    ProviderUnavailableError,
    StateError,
    StorageError,
)
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsRequested,
    BarsStored,
    Event,
    JobFinished,
    JobStarted,
    SymbolDaysRecorded,
)
from tests.support.builders import day
from tests.support.coordination import EXECUTORS, coordination
from tests.support.in_memory_ingestion_state import InMemoryCheckpoints, InMemoryIngestionState, Memory
from tests.support.inline_executor import InlineExecutor

NewExecutor = Callable[[], Executor]
BOTH_DAYS = ("2024-01-02", "2024-01-03")


@pytest.fixture(params=list(EXECUTORS))
def new_executor(request: pytest.FixtureRequest) -> NewExecutor:
    return EXECUTORS[request.param]


def days_of(outcome: str, *symbols: str) -> dict[str, str]:
    return {f"{symbol} {date}": outcome for symbol in symbols for date in BOTH_DAYS}


def test_a_job_that_gets_everything_is_completed(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, empty=frozenset({"MSFT"}))

    job = parts.ingest("AAPL", "MSFT")

    assert job.state is JobState.COMPLETED
    assert parts.recorded() == {**days_of("complete", "AAPL"), **days_of("empty", "MSFT")}
    assert dict(job.counts) == {Outcome.COMPLETE: 2, Outcome.EMPTY: 2}
    record = parts.latest_job
    assert (record.state, record.symbols, record.planned, record.done, record.failed) == ("completed", 2, 4, 4, 0)
    assert record.finished_at == "2025-06-02T12:00:00Z"


def test_events_tell_the_story_of_a_job_in_order() -> None:
    parts = coordination()

    job = parts.ingest("AAPL")

    assert [type(event) for event in parts.events] == [
        JobStarted,
        BarsRequested,
        BarsStored,
        SymbolDaysRecorded,
        BarsExhausted,
        JobFinished,
    ]
    assert parts.events[0] == JobStarted(job.job_id, "fake", planned=2, settled=0, batches=1)
    assert parts.events[-1] == JobFinished(job.job_id, "fake", "completed")


def test_what_is_settled_is_not_asked_for_again(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, empty=frozenset({"MSFT"}))
    parts.ingest("AAPL", "MSFT")
    parts.ring.requests.clear()

    job = parts.ingest("AAPL", "MSFT")

    assert parts.ring.requests == []
    assert (job.state, job.planned, job.settled) == (JobState.COMPLETED, 0, 4)


def test_a_refused_symbol_fails_alone(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, refused={"OOPS": "invalid symbol: OOPS"})

    job = parts.ingest("AAPL", "OOPS")

    assert job.state is JobState.FAILED
    assert parts.recorded() == {**days_of("complete", "AAPL"), **days_of("failed", "OOPS")}
    assert job.outcomes[day("OOPS", BOTH_DAYS[0])].error == "invalid symbol: OOPS"


@pytest.mark.parametrize("error", [ProviderUnavailableError("503"), StorageError("disk full")], ids=lambda e: str(e))
def test_a_batch_that_fails_does_not_stop_the_others(new_executor: NewExecutor, error: Exception) -> None:
    parts = coordination(new_executor, happens={"BAD": error})

    job = parts.ingest("AAPL", "BAD", "MSFT")

    assert job.state is JobState.FAILED
    assert parts.recorded() == {**days_of("complete", "AAPL", "MSFT"), **days_of("failed", "BAD")}
    assert {found.error for found in job.outcomes.values()} == {None, str(error)}
    record = parts.latest_job
    assert (record.state, record.planned, record.done, record.failed) == ("failed", 6, 4, 2)


def test_failed_days_are_asked_for_again(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, happens={"BAD": ProviderUnavailableError("503")})
    parts.ingest("AAPL", "BAD")
    parts.ring.requests.clear()
    parts.ring.happens = {}

    job = parts.ingest("AAPL", "BAD")

    assert [str(request.symbols[0]) for request in parts.ring.requests] == ["BAD"]
    assert (job.state, job.settled) == (JobState.COMPLETED, 2)


def test_refused_credentials_are_raised_and_close_the_job_as_failed(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, happens={"BAD": CredentialsError("401: check the key")})

    with pytest.raises(CredentialsError, match="401: check the key"):
        parts.ingest("AAPL", "BAD", "MSFT", "NVDA", "ORCL")

    recorded = parts.recorded()
    failed = sum(outcome == "failed" for outcome in recorded.values())
    record = parts.latest_job
    assert failed == 2
    assert (record.state, record.planned) == ("failed", 10)
    assert (record.done, record.failed) == (len(recorded) - 2, 2)
    assert parts.events[-1] == JobFinished(record.job_id, "fake", "failed")


@pytest.mark.parametrize("workers", [0, 1])
def test_refused_credentials_stop_all_that_has_not_begun(workers: int) -> None:
    chosen = EXECUTORS["inline"] if workers == 0 else lambda: ThreadPoolExecutor(workers)
    parts = coordination(chosen, happens={"BAD": CredentialsError("401")})

    with pytest.raises(CredentialsError):
        parts.ingest("AAPL", "BAD", "MSFT", "NVDA")

    assert [str(request.symbols[0]) for request in parts.ring.requests] == ["AAPL", "BAD"]
    assert parts.recorded() == {**days_of("complete", "AAPL"), **days_of("failed", "BAD")}


def test_a_bug_in_a_handler_surfaces_and_the_job_does_not_stay_running(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, happens={"BAD": ZeroDivisionError("a bug")})

    with pytest.raises(ZeroDivisionError, match="a bug"):
        parts.ingest("AAPL", "BAD")

    record = parts.latest_job
    assert record.state == "interrupted"
    assert record.finished_at is not None
    assert "failed" not in parts.recorded().values()
    assert parts.events[-1] == JobFinished(record.job_id, "fake", "interrupted")


def test_an_observer_that_raises_changes_nothing(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor)
    parts.bus.observe(Event, _raise)

    job = parts.ingest("AAPL", "MSFT")

    assert job.state is JobState.COMPLETED
    assert parts.recorded() == days_of("complete", "AAPL", "MSFT")


def test_several_workers_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3)
    parts = coordination(lambda: ThreadPoolExecutor(3), happens=dict.fromkeys(["A", "B", "C"], _meets(meeting)))

    job = parts.ingest("A", "B", "C")

    assert job.state is JobState.COMPLETED
    assert len(parts.ring.threads) == 3


def test_few_frames_lie_between_a_job_and_its_requests() -> None:
    """Each is one more function to read for a person who follows a request; an executor's own are not counted."""
    frames = list[str]()

    def note() -> None:
        folder = str(Path("marketpipe") / "ingestion")
        frames.extend(frame.name for frame in traceback.extract_stack() if folder in frame.filename)

    coordination(InlineExecutor, happens={"AAPL": note}).ingest("AAPL")

    assert frames == ["ingest", "_run_plan", "run", "_run_one", "_run_batch"]


def test_a_state_that_cannot_be_written_surfaces(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, state=_failing(times=1000))

    with pytest.raises(StateError, match="disk full"):
        parts.ingest("AAPL")

    record = parts.latest_job
    assert (record.state, record.done, record.failed) == ("interrupted", 0, 0)


@pytest.mark.parametrize("symbol", ["AAPL", "EMPTY"])
def test_symbol_days_whose_checkpoint_could_not_be_written_are_not_called_complete(symbol: str) -> None:
    parts = coordination(state=_failing(times=1), empty=frozenset({"EMPTY"}))

    job = parts.ingest(symbol)

    assert job.state is JobState.FAILED
    assert parts.recorded() == days_of("failed", symbol)
    assert {found.error for found in job.outcomes.values()} == {"disk full"}


class _FailingCheckpoints(InMemoryCheckpoints):
    """Fails to record so many times."""

    def __init__(self, memory: Memory, times: int) -> None:
        super().__init__(memory)
        self._left = times

    def record(self, job_id: int, checked_at: Timestamp, answers: Sequence[Answer]) -> None:
        self._left -= 1
        if self._left >= 0:
            raise StateError("disk full")
        super().record(job_id, checked_at, answers)


def _failing(times: int) -> InMemoryIngestionState:
    return InMemoryIngestionState(lambda memory: _FailingCheckpoints(memory, times))


def _raise(_: Event) -> None:
    raise RuntimeError("an observer's own trouble")


def _meets(meeting: threading.Barrier) -> Callable[[], None]:
    def meet() -> None:
        meeting.wait(timeout=60)

    return meet
