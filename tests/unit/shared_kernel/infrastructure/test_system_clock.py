from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock

LONG = 600.0


def sleepers(clock: SystemClock, count: int) -> tuple[list[threading.Thread], list[str]]:
    """Threads that sleep for long, and what woke each."""
    woken: list[str] = []
    all_sleep = threading.Barrier(count + 1)

    def sleep() -> None:
        all_sleep.wait(60)
        try:
            clock.sleep(LONG)
        except IngestionInterrupted as error:
            woken.append(str(error))

    threads = [threading.Thread(target=sleep, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    all_sleep.wait(60)
    return threads, woken


def test_now_is_the_time_of_the_machine() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now().moment
    assert before <= now <= datetime.now(UTC)


def test_monotonic_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_sleep_lasts_at_least_as_long_as_asked() -> None:
    clock, start = SystemClock(), time.monotonic()
    clock.sleep(0.005)
    asyncio.run(clock.sleep_async(0.005))
    assert time.monotonic() - start >= 0.01


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_sleep_of_no_time_returns_at_once(seconds: float) -> None:
    clock, start = SystemClock(), time.monotonic()
    clock.sleep(seconds)
    asyncio.run(clock.sleep_async(seconds))
    assert time.monotonic() - start < 60


def test_interrupt_wakes_every_sleeper() -> None:
    clock = SystemClock()
    threads, woken = sleepers(clock, 4)
    clock.interrupt()
    for thread in threads:
        thread.join(60)
    assert woken == ["asked to stop while waiting for the market data provider"] * 4


def test_interrupt_wakes_sleepers_of_an_event_loop() -> None:
    clock = SystemClock()

    async def scenario() -> list[BaseException | None]:
        tasks = [asyncio.ensure_future(clock.sleep_async(LONG)) for _ in range(3)]
        await asyncio.sleep(0)
        clock.interrupt()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    assert [type(outcome) for outcome in asyncio.run(scenario())] == [IngestionInterrupted] * 3


def test_no_sleep_begins_after_an_interrupt() -> None:
    clock = SystemClock()
    clock.interrupt()
    for _ in range(2):
        with pytest.raises(IngestionInterrupted):
            clock.sleep(LONG)
        with pytest.raises(IngestionInterrupted):
            asyncio.run(clock.sleep_async(LONG))
    with pytest.raises(IngestionInterrupted):
        clock.sleep(0)


def test_resume_lets_sleep_again() -> None:
    clock = SystemClock()
    clock.interrupt()
    clock.resume()
    clock.sleep(0.001)
    asyncio.run(clock.sleep_async(0.001))


def test_interrupt_leaves_the_sleepers_of_another_clock_asleep() -> None:
    mine, other = SystemClock(), SystemClock()
    threads, woken = sleepers(other, 1)
    mine.interrupt()
    threads[0].join(0.01)
    assert threads[0].is_alive()
    assert woken == []
    other.interrupt()
    threads[0].join(60)
    assert len(woken) == 1


def test_cancelled_sleep_of_an_event_loop_ends_at_once() -> None:
    async def scenario() -> None:
        task = asyncio.ensure_future(SystemClock().sleep_async(LONG))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait_for(task, 5)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())
