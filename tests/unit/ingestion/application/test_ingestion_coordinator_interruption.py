from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from marketpipe.ingestion.domain.ingestion_job import JobState
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events import BarsRequested, Event, JobFinished, JobStarted, SymbolDaysRecorded
from marketpipe.testing import FakeClock
from tests.support.coordination import EXECUTORS, Coordination, coordination

NewExecutor = Callable[[], Executor]
SYMBOLS = ("AAPL", "MSFT", "NVDA", "ORCL", "TSLA")


@pytest.fixture(params=list(EXECUTORS))
def new_executor(request: pytest.FixtureRequest) -> NewExecutor:
    return EXECUTORS[request.param]


def stops_at_the_first(parts: Coordination, kind: type[Event]) -> None:
    parts.bus.observe(kind, lambda _: parts.coordinator.stop())


def assert_interrupted_and_honest(parts: Coordination) -> None:
    record = parts.latest_job
    assert record.state == "interrupted"
    assert record.finished_at is not None
    assert (record.planned, record.done, record.failed) == (10, len(parts.recorded()), 0)
    assert parts.events[-1] == JobFinished(record.job_id, "fake", "interrupted")


def assert_resumes(parts: Coordination) -> None:
    """A second run asks for what is missing, for nothing else, and completes."""
    known = set(parts.recorded())
    parts.ring.requests.clear()
    parts.ring.happens = {}

    job = parts.ingest(*SYMBOLS)

    asked = {str(day) for request in parts.ring.requests for day in request.symbol_days}
    assert job.state is JobState.COMPLETED
    assert asked | known == set(parts.recorded())
    assert asked & known == set()
    assert set(parts.recorded().values()) == {"complete"}
    assert len(parts.recorded()) == 10


def test_stop_ends_a_job_after_the_symbol_days_in_hand() -> None:
    parts = coordination()
    parts.ring.happens = {"MSFT": parts.coordinator.stop}

    job = parts.ingest(*SYMBOLS)

    assert job.state is JobState.INTERRUPTED
    assert set(parts.recorded()) == {f"{s} 2024-01-0{n}" for s in ("AAPL", "MSFT") for n in (2, 3)}
    assert_interrupted_and_honest(parts)


def test_stop_from_a_worker_interrupts_and_later_resumes(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor)
    parts.ring.happens = {"MSFT": parts.coordinator.stop}

    assert parts.ingest(*SYMBOLS).state is JobState.INTERRUPTED

    assert_interrupted_and_honest(parts)
    assert_resumes(parts)


def test_stop_from_an_observer_interrupts(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor)
    stops_at_the_first(parts, SymbolDaysRecorded)

    assert parts.ingest(*SYMBOLS).state is JobState.INTERRUPTED

    assert 0 < len(parts.recorded()) < 10
    assert_interrupted_and_honest(parts)


def test_stop_at_the_start_asks_for_nothing(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor)
    stops_at_the_first(parts, JobStarted)

    assert parts.ingest(*SYMBOLS).state is JobState.INTERRUPTED

    assert parts.ring.requests == []
    assert_interrupted_and_honest(parts)


def test_stop_while_the_job_is_being_planned_is_heard(new_executor: NewExecutor) -> None:
    clock = _WatchedClock()
    parts = coordination(new_executor, clock=clock)
    clock.when_read = parts.coordinator.stop

    assert parts.ingest(*SYMBOLS).state is JobState.INTERRUPTED
    assert parts.ring.requests == []


def test_stop_from_another_thread_wakes_a_worker_that_waits() -> None:
    """As a provider waits for its rate limit: the wait ends with IngestionInterrupted."""
    parts = coordination(lambda: ThreadPoolExecutor(2))
    waiting = threading.Event()

    def wait_for_the_rate_limit() -> None:
        waiting.set()
        while True:
            parts.clock.sleep(0.001)

    parts.ring.happens = {"MSFT": wait_for_the_rate_limit}

    def stop_when_it_waits() -> None:
        waiting.wait(60)
        parts.coordinator.stop()

    stopper = threading.Thread(target=stop_when_it_waits)
    stopper.start()

    job = parts.ingest("MSFT")
    stopper.join()

    assert job.state is JobState.INTERRUPTED
    assert parts.recorded() == {}


def test_a_stopped_coordinator_can_ingest_again_and_sleep_again(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor)
    parts.ring.happens = {"AAPL": lambda: parts.clock.sleep(1.0)}
    parts.coordinator.stop()
    with pytest.raises(IngestionInterrupted):
        parts.clock.sleep(1.0)

    assert parts.ingest("AAPL").state is JobState.COMPLETED

    parts.clock.sleep(1.0)
    assert parts.clock.slept == [1.0, 1.0]


@pytest.mark.parametrize("kind", [BarsRequested, SymbolDaysRecorded, JobStarted])
def test_a_keyboard_interrupt_in_an_observer_interrupts_and_later_resumes(
    new_executor: NewExecutor, kind: type[Event]
) -> None:
    parts = coordination(new_executor)
    pending = [KeyboardInterrupt()]

    def interrupt_once(_: Event) -> None:
        if pending:
            raise pending.pop()

    parts.bus.observe(kind, interrupt_once)

    with pytest.raises(KeyboardInterrupt):
        parts.ingest(*SYMBOLS)

    assert_interrupted_and_honest(parts)
    assert_resumes(parts)


def test_a_keyboard_interrupt_in_a_handler_interrupts_and_later_resumes(new_executor: NewExecutor) -> None:
    parts = coordination(new_executor, happens={"MSFT": KeyboardInterrupt()})

    with pytest.raises(KeyboardInterrupt):
        parts.ingest(*SYMBOLS)

    assert "failed" not in parts.recorded().values()
    assert_interrupted_and_honest(parts)
    assert_resumes(parts)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_control_c_in_the_main_thread_waits_for_the_symbol_days_in_hand_and_later_resumes() -> None:
    parts = coordination(lambda: ThreadPoolExecutor(2), happens={"MSFT": _press_control_c})

    with pytest.raises(KeyboardInterrupt):
        parts.ingest(*SYMBOLS)

    assert_interrupted_and_honest(parts)
    assert_resumes(parts)


class _WatchedClock(FakeClock):
    """Does something whenever it is read; planning reads it."""

    when_read: Callable[[], None] | None = None

    def now(self) -> Timestamp:
        if self.when_read is not None:
            self.when_read()
        return super().now()


def _press_control_c() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)
