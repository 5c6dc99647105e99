"""What ``DaskPool`` makes of what happens on a cluster, without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from marketpipe.config import PipelineConfig
from marketpipe.dask_pool import DaskPool, GoingOn
from marketpipe.dask_worker import AttemptReport
from marketpipe.observers import Isolation
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    EngineFailedError,
    IngestionInterrupted,
    StateError,
    StorageError,
    StoreBusyError,
    WorkerLostError,
)
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    AttemptLost,
    BarsExhausted,
    BarsRequested,
    Event,
    JobStarted,
    RequestCompleted,
    RequestRetried,
)
from marketpipe.testing import bars_request
from marketpipe.worker_pool import RequestReport
from tests.support.fake_dask import FakeCluster, Killed

Answer = Callable[[str, tuple[Any, ...], Future[Any]], None]
REQUEST = bars_request(["AAPL"], "2024-03-04", "2024-03-04")
DONE = BarsExhausted(REQUEST)


class Run:
    """A pool over a fake cluster, and all that it published."""

    def __init__(self, answer: Answer, **cluster: Any) -> None:
        self.events = list[Event]()
        self.cluster, self.connected = FakeCluster(answer, **cluster), 0
        bus = EventBus(Isolation())
        bus.observe(Event, self.events.append)
        config = PipelineConfig(
            provider="synthetic", symbols=["AAPL"], start="2024-03-04", end="2024-03-04", executor="dask"
        )
        self.held = set[int]()
        self.pool = DaskPool(config, bus, self._connect, lambda *given, **_: given, GoingOn(self._lock))

    def _connect(self) -> FakeCluster:
        self.connected += 1
        return self.cluster

    @contextmanager
    def _lock(self, number: int) -> Iterator[None]:
        if number < 3 or number in self.held:
            raise StoreBusyError("two other runs use Dask over this store")
        self.held.add(number)
        yield
        self.held.remove(number)

    def request(self) -> None:
        self.pool.on_bars_requested(BarsRequested(REQUEST))


@pytest.fixture
def begun() -> Iterator[Callable[..., Run]]:
    runs = list[Run]()

    def begin(answer: Answer, **cluster: Any) -> Run:
        runs.append(Run(answer, **cluster))
        return runs[-1]

    yield begin
    for run in runs:
        run.pool.close()
        assert not run.held


def batch_of(key: str) -> str:
    return key.removeprefix("marketpipe-batch-").rpartition("-")[0]


def answered(_: str, __: tuple[Any, ...], future: Future[Any]) -> None:
    future.set_result(AttemptReport("only", RequestReport((DONE,))))


def test_the_events_of_a_batch_are_published_and_then_its_error(begun: Callable[..., Run]) -> None:
    def fails(_: str, __: tuple[Any, ...], future: Future[Any]) -> None:
        future.set_result(AttemptReport("only", RequestReport((DONE,), StorageError("the disk is full"))))

    run = begun(fails)
    with pytest.raises(StorageError, match="the disk is full"):
        run.request()

    assert run.events == [DONE]


def test_nothing_is_connected_before_a_job_has_batches(begun: Callable[..., Run]) -> None:
    run = begun(answered)
    run.pool.on_job_started(JobStarted(1, "synthetic", 0, 5, 0))
    assert run.connected == 0
    run.pool.on_job_started(JobStarted(2, "synthetic", 5, 0, 1))
    run.request()
    assert run.connected == 1


def test_a_cluster_that_cannot_be_used_ends_the_run_and_is_closed(begun: Callable[..., Run]) -> None:
    run = begun(answered, refusal="Dask's worker 3 cannot be used: no credentials for Alpaca")
    with pytest.raises(ConfigurationError, match="worker 3"):
        run.pool.on_job_started(JobStarted(1, "synthetic", 5, 0, 1))

    assert run.cluster.closed == 1


def test_the_worker_is_given_the_lock_that_the_run_holds(begun: Callable[..., Run]) -> None:
    run = begun(answered)
    run.request()
    ((_, sign),) = run.cluster.plugins.values()

    assert sign == 3
    assert run.held == {3}


def test_each_batch_has_a_key_of_its_own(begun: Callable[..., Run]) -> None:
    keys = list[str]()
    run = begun(lambda key, arguments, future: (keys.append(key), answered(key, arguments, future)))  # type: ignore[func-returns-value]
    run.request()
    run.request()

    assert len(set(keys)) == 2
    assert all(key.startswith("marketpipe-batch-") for key in keys)


def test_what_a_lost_attempt_had_requested_is_counted_and_that_of_the_last_only_once(begun: Callable[..., Run]) -> None:
    asked, failed = RequestCompleted("synthetic", 0.5, 10), RequestCompleted("synthetic", 0.1, 0, "timeout", 7)

    def killed_once(key: str, _: tuple[Any, ...], future: Future[Any]) -> None:
        first, second = ({"batch": batch_of(key), "attempt": attempt} for attempt in ("first", "second"))
        run.cluster.tell(first)
        run.cluster.tell({**first, "completed": ["synthetic", 0.1, 0, "timeout", 7]})
        run.cluster.tell({**first, "retried": ["synthetic", 1, 0.2]})
        run.cluster.tell({**second, "completed": ["synthetic", 0.5, 10, None, None]})
        run.cluster.tell({"batch": "another", "attempt": "late", "completed": ["synthetic", 0.5, 10, None, None]})
        future.set_result(AttemptReport("second", RequestReport((asked, DONE))))

    run = begun(killed_once)
    run.request()

    retried = RequestRetried("synthetic", 1, 0.2, "the worker that asked was lost")
    assert run.events == [failed, retried, AttemptLost(REQUEST, 1), asked, DONE]


def test_a_batch_that_kills_its_workers_fails_alone_and_its_requests_count(begun: Callable[..., Run]) -> None:
    def killing(key: str, _: tuple[Any, ...], future: Future[Any]) -> None:
        for attempt in "abcd":
            told = {"batch": batch_of(key), "attempt": f"{key}-{attempt}"}
            run.cluster.tell({**told, "completed": ["synthetic", 0.5, 1, None, None]})
        future.set_exception(Killed())

    run = begun(killing)
    with pytest.raises(WorkerLostError, match="8 workers of Dask were killed"):
        run.request()

    assert run.events.count(AttemptLost(REQUEST, 1)) == 8
    run.cluster.answer = answered
    run.request()


def test_a_batch_that_only_waited_on_workers_which_were_killed_is_sent_again(begun: Callable[..., Run]) -> None:
    keys = list[str]()

    def given_up(key: str, arguments: tuple[Any, ...], future: Future[Any]) -> None:
        keys.append(key)
        future.set_exception(Killed()) if len(keys) < 7 else answered(key, arguments, future)

    run = begun(given_up)
    run.request()

    assert run.events == [DONE]
    assert len(set(keys)) == 7


def test_a_batch_whose_workers_die_before_they_tell_anything_is_not_sent_for_ever(begun: Callable[..., Run]) -> None:
    run = begun(lambda _, __, future: future.set_exception(Killed()))
    with pytest.raises(WorkerLostError):
        run.request()


def test_a_batch_that_the_scheduler_cancels_ends_the_run_as_interrupted(begun: Callable[..., Run]) -> None:
    def cancelled(_: str, __: tuple[Any, ...], future: Future[Any]) -> None:
        future.cancel()
        future.set_running_or_notify_cancel()

    run = begun(cancelled)
    with pytest.raises(EngineFailedError, match="tls://fake:8786 is gone"):
        run.request()


def test_a_lost_connection_ends_a_batch_that_would_never_end(begun: Callable[..., Run]) -> None:
    run = begun(lambda *_: setattr(run.cluster, "lost", True))
    with pytest.raises(EngineFailedError):
        run.request()


def test_the_next_run_connects_anew_after_a_lost_connection(begun: Callable[..., Run]) -> None:
    run = begun(answered)
    run.request()
    run.cluster.lost = True
    run.pool.on_job_started(JobStarted(2, "synthetic", 5, 0, 1))

    assert run.connected == 2
    assert run.cluster.closed == 1


def test_a_stop_lets_go_of_the_lock_and_the_batch_ends_as_its_worker_sees_it(begun: Callable[..., Run]) -> None:
    def stopped(_: str, __: tuple[Any, ...], future: Future[Any]) -> None:
        def end() -> None:
            while run.held:
                threading.Event().wait(0.01)
            error = IngestionInterrupted("stopped after the symbol-days that had been begun")
            future.set_result(AttemptReport("only", RequestReport((DONE,), error)))

        threading.Thread(target=end).start()
        run.pool.stop()

    run = begun(stopped)
    with pytest.raises(IngestionInterrupted, match="had been begun"):
        run.request()
    assert run.events == [DONE]

    with pytest.raises(IngestionInterrupted, match="before the next batch"):
        run.request()
    run.pool.go()
    run.cluster.answer = answered
    run.request()
    assert run.held == {3}


def test_a_stop_does_not_wait_for_a_worker_that_is_not_there(begun: Callable[..., Run]) -> None:
    run = begun(lambda *_: run.pool.stop(), workers=False)
    with pytest.raises(IngestionInterrupted, match="no worker was there"):
        run.request()


def test_a_bug_in_a_worker_is_raised_as_it_is(begun: Callable[..., Run]) -> None:
    run = begun(lambda _, __, future: future.set_exception(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run.request()


def test_closing_takes_the_plugin_down_and_closes_the_cluster(begun: Callable[..., Run]) -> None:
    run = begun(answered)
    run.request()
    run.pool.close()

    assert not run.cluster.plugins
    assert run.cluster.closed == 1


class Locks:
    """The locks that workers look at, and what is raised as one is taken, or once as it is released."""

    def __init__(self) -> None:
        self.tried, self.held = list[int](), set[int]()
        self.on_taking: StateError | None = None
        self.on_release: StateError | None = None

    @contextmanager
    def lock(self, number: int) -> Iterator[None]:
        self.tried.append(number)
        if self.on_taking is not None:
            raise self.on_taking
        self.held.add(number)
        yield
        self.held.remove(number)
        if self.on_release is not None:
            error, self.on_release = self.on_release, None
            raise error


@pytest.fixture
def locks() -> Locks:
    return Locks()


@pytest.fixture
def going_on(locks: Locks) -> Iterator[GoingOn]:
    made = GoingOn(locks.lock)
    yield made
    made.end()
    assert not locks.held


def test_a_run_whose_lock_could_not_be_released_takes_the_same_one_again(locks: Locks, going_on: GoingOn) -> None:
    assert going_on.hold() == 1
    locks.on_release = StateError("the database was away")
    going_on.let_go()
    while locks.on_release is not None:
        threading.Event().wait(0.01)
    going_on.go()
    assert going_on.hold() == 1
    assert locks.held == {1}
    assert set(locks.tried) == {1}


def test_while_the_state_is_away_no_other_lock_is_tried_and_the_error_says_why(locks: Locks, going_on: GoingOn) -> None:
    locks.on_taking = StateError("postgresql://db cannot be reached: no password")
    with pytest.raises(StateError, match="told to go on: postgresql://db cannot be reached: no password") as raised:
        going_on.hold(0.2)
    assert raised.value.__cause__ is locks.on_taking
    assert set(locks.tried) == {1}
    locks.on_taking = None
    assert going_on.hold() == 1


def test_a_run_that_finds_no_free_lock_says_who_has_the_last_one(locks: Locks, going_on: GoingOn) -> None:
    locks.on_taking = StoreBusyError("process 4711 on here holds it")
    with pytest.raises(StateError, match="process 4711 on here holds it"):
        going_on.hold(0.2)
    assert {1, 2, 3} < set(locks.tried)


def test_an_end_does_not_wait_until_all_locks_were_tried(locks: Locks) -> None:
    locks.on_taking = StoreBusyError("another run has it")

    @contextmanager
    def slowly(number: int) -> Iterator[None]:
        threading.Event().wait(0.02)
        with locks.lock(number):
            yield

    made = GoingOn(slowly)
    with pytest.raises(StateError):
        made.hold(0.1)
    made.end()
    assert len(locks.tried) < 100
