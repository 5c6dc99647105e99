"""The scheduler, its pools and locks, and the faults of a process: without the product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.pool import SimulatedThreads
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.story import Fault

START = Timestamp.parse("2024-03-04T12:00:00Z")
Act = Callable[[Process, SimulatedThreads], object]


def ran(act: Act, seed: int = 1, patience: float = 0.5, faults: tuple[Fault, ...] = ()) -> tuple[Scheduler, list[Any]]:
    """Let two processes carry out ``act``, the first with these faults; return what each has returned."""
    scheduler, returned = Scheduler(str(seed), patience), list[Any]()
    for number in (1, 2):
        process = Process(scheduler, number, START).with_faults(faults if number == 1 else ())
        start(scheduler, process, act, returned)
    scheduler.run()
    scheduler.close()
    return scheduler, returned


def start(scheduler: Scheduler, process: Process, act: Act, returned: list[Any]) -> None:
    threads = SimulatedThreads(scheduler, process)
    scheduler.start(process, "main", lambda: returned.append((process.name, act(process, threads))))


def sums(process: Process, threads: SimulatedThreads) -> int:
    """Sum up in a pool, under a lock, with calls and a pause while it is held."""
    lock, total = threads.lock(), [0]

    def add(number: int) -> int:
        with lock:
            before = total[0]
            for _ in range(3):
                process.call("write", str(number))
            process.clock.sleep(0.5)
            total[0] = before + number
        return number

    with threads.executor(4, "worker") as pool:
        assert sum(pool.map(add, range(20))) == 190
    return total[0]


def test_the_same_seed_makes_the_same_choices() -> None:
    runs = [ran(sums, seed)[0] for seed in (1, 1, 2)]
    assert [run.trace == runs[0].trace for run in runs] == [True, True, False]
    assert runs[0].choices > 50


@pytest.mark.parametrize("patience", [0.0, 0.5, 0.99, 1.0])
def test_a_lock_is_held_by_one_thread_at_a_time(patience: float) -> None:
    scheduler, returned = ran(sums, patience=patience)
    assert sorted(returned) == [("p1", 190), ("p2", 190)]
    assert scheduler.failures == []


def test_nobody_waits_really() -> None:
    scheduler, _ = ran(lambda process, _: process.clock.sleep(3600))
    assert 3600 < scheduler.now < 3601


def test_a_killed_process_reaches_nothing_more() -> None:
    reached = list[str]()

    def act(process: Process, threads: SimulatedThreads) -> int:
        try:
            return sums(process, threads)
        finally:
            reached.append(process.name)
            process.call("unlink", "the temporary file")
            reached.append(f"{process.name} again")

    scheduler, returned = ran(act, faults=(Fault("kill", "write", 10),))
    assert returned == [("p2", 190)]
    assert sorted(reached) == ["p1", "p2", "p2 again"]
    assert scheduler.failures == []


def test_what_a_process_holds_is_released_when_its_last_thread_has_ended() -> None:
    released = list[str]()

    def act(process: Process, threads: SimulatedThreads) -> int:
        process.at_death.append(lambda dead: released.append(dead.name))
        return sums(process, threads)

    ran(act, faults=(Fault("kill", "write", 10),))
    assert sorted(released) == ["p1", "p2"]


def test_a_call_fails_with_the_error_of_its_fault() -> None:
    def act(process: Process, threads: SimulatedThreads) -> str:
        process.call("fsync", "a")
        try:
            process.call("fsync", "b")
        except OSError as error:
            return f"{error.strerror}: {error.filename}"
        return "no error"

    _, returned = ran(act, faults=(Fault("errno:ENOSPC", "fsync", 2),))
    assert sorted(returned) == [("p1", "No space left on device: b"), ("p2", "no error")]


def test_a_fault_that_only_the_caller_can_carry_out_is_returned_to_it() -> None:
    lost = Fault("lost commit", "sql COMMIT", 1)
    _, returned = ran(lambda process, _: process.call("sql", "COMMIT"), faults=(lost,))
    assert sorted(returned, key=str) == [("p1", lost), ("p2", None)]


def test_a_process_that_is_stopped_is_told_at_that_call() -> None:
    def act(process: Process, threads: SimulatedThreads) -> list[int]:
        told, number = list[int](), 0
        process.on_stop = lambda: told.append(number)
        for number in range(5):  # noqa: B007
            process.call("write", "")
        return told

    _, returned = ran(act, faults=(Fault("stop", "write", 3),))
    assert sorted(returned) == [("p1", [2]), ("p2", [])]


def test_a_clock_may_jump_during_a_command() -> None:
    def act(process: Process, threads: SimulatedThreads) -> int:
        before = process.clock.now()
        process.call("write", "")
        return (process.clock.now().epoch_micros - before.epoch_micros) // 1_000_000

    _, returned = ran(act, faults=(Fault("clock", "write", 1, "-3600"),))
    assert sorted(returned) == [("p1", -3600), ("p2", 0)]


def test_a_paused_process_goes_on_later_and_the_others_meanwhile() -> None:
    def act(process: Process, threads: SimulatedThreads) -> int:
        process.call("write", "")
        process.call("write", "")
        return int(process.clock.monotonic())

    _, returned = ran(act, faults=(Fault("pause", "write", 1, "700"),))
    assert returned == [("p2", 0), ("p1", 700)]


def test_threads_that_wait_for_one_another_are_stuck_and_their_stacks_are_told() -> None:
    def act(process: Process, threads: SimulatedThreads) -> None:
        lock = threads.lock()
        lock.acquire()
        lock.acquire()

    scheduler, returned = ran(act)
    assert returned == []
    assert scheduler.failures[0].startswith("no thread can go on\n")
    assert "in acquire" in scheduler.failures[0]


def test_a_thread_that_never_ends_is_stuck() -> None:
    def act(process: Process, threads: SimulatedThreads) -> None:
        while True:
            process.clock.sleep(600)

    scheduler, _ = ran(act)
    assert scheduler.failures[0].startswith("this goes on for too long: ")


def test_an_error_that_nobody_catches_is_a_failure_of_the_world() -> None:
    def act(process: Process, threads: SimulatedThreads) -> None:
        raise ZeroDivisionError("mistake")

    scheduler, _ = ran(act)
    assert "ZeroDivisionError: mistake" in scheduler.failures[0]


def test_a_condition_wakes_only_those_that_it_notified() -> None:
    def act(process: Process, threads: SimulatedThreads) -> list[str]:
        condition, happened, ready = threads.condition(), list[str](), [False]

        def wait() -> None:
            with condition:
                condition.wait_for(lambda: ready[0])
                happened.append("went on")

        with threads.executor(3, "worker") as pool:
            pool.submit(wait)
            pool.submit(wait)
            process.clock.sleep(1)
            ready[0] = True
            process.clock.sleep(1)
            happened.append("notifies")
            with condition:
                condition.notify_all()
        return happened

    _, returned = ran(act)
    assert returned[0][1] == ["notifies", "went on", "went on"]


def test_a_condition_that_waits_with_a_bound_gives_up() -> None:
    def act(process: Process, threads: SimulatedThreads) -> bool:
        condition = threads.condition()
        with condition, condition:
            return condition.wait_for(lambda: False, timeout=30)

    scheduler, returned = ran(act)
    assert sorted(returned) == [("p1", False), ("p2", False)]
    assert 30 <= scheduler.now < 31


def test_futures_come_as_they_are_completed() -> None:
    def act(process: Process, threads: SimulatedThreads) -> list[float]:
        def waits(seconds: float) -> float:
            process.clock.sleep(seconds)
            return seconds

        with threads.executor(3, "worker") as pool:
            futures = [pool.submit(waits, seconds) for seconds in (3.0, 1.0, 2.0)]
            came = [future.result() for future in threads.as_completed(futures)]
            threads.wait(futures)
        return came

    _, returned = ran(act)
    assert returned[0][1] == [1.0, 2.0, 3.0]


def test_an_executor_takes_nothing_more_after_its_shutdown() -> None:
    def act(process: Process, threads: SimulatedThreads) -> str:
        pool = threads.executor(1, "worker")
        waiting = [pool.submit(process.clock.sleep, 1.0) for _ in range(2)]
        pool.shutdown(cancel_futures=True)
        with pytest.raises(RuntimeError):
            pool.submit(process.call, "write", "")
        return " ".join("cancelled" if future.cancelled() else "done" for future in waiting)

    _, returned = ran(act)
    assert returned[0][1] in {"done cancelled", "cancelled cancelled"}
