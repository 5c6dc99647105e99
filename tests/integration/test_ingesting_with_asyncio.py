"""``await pipeline.aingest()``: the event loop goes on, and a cancelled task leaves a store as ``stop`` leaves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketpipe import BarsRequest, BarsStored, ConfigurationError, Pipeline, PipelineClosedError
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline, stored_rows
from tests.support.scripted_provider import ScriptedProvider

SYMBOLS = ["AAPL", "MSFT", "NVDA"]
BARS = {symbol: {date: minutes(date) for date in (TUESDAY, WEDNESDAY)} for symbol in SYMBOLS}
PATIENCE = 60


class Waiting(ScriptedProvider):
    """Waits with each answer for ``go``; ``reached`` is set when the first request comes."""

    def __init__(self) -> None:
        super().__init__(BARS, symbols_per_request=1)
        self.reached, self.go = threading.Event(), threading.Event()

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        self.reached.set()
        assert self.go.wait(PATIENCE)
        yield from super().fetch_batch(request)


def opened(root: Path, provider: ScriptedProvider, clock: FakeClock | None = None) -> Pipeline:
    return pipeline(config(root, SYMBOLS, TUESDAY, WEDNESDAY, workers=1), provider, clock)


async def until(happened: threading.Event) -> None:
    """Give the event loop away until another thread has set the event: so it is not blocked meanwhile."""
    while not happened.is_set():
        await asyncio.sleep(0.001)


async def cancelled(task: asyncio.Task[Any], provider: Waiting, times: int = 1) -> None:
    """Cancel the task, then let the provider answer; check that the task ends as cancelled, and not before."""
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done(), "the run had not ended yet"
    provider.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_event_loop_goes_on_while_bars_are_ingested_updated_and_audited(tmp_path: Path) -> None:
    async def main() -> None:
        provider = Waiting()
        async with opened(tmp_path, provider) as made:
            task = asyncio.create_task(made.aingest(["AAPL"], TUESDAY, WEDNESDAY))
            await until(provider.reached)
            provider.go.set()
            assert (await task).bars == 8
            assert (await made.aupdate(["AAPL"])).state == "completed"
            assert (await made.aaudit(["AAPL"])).ok
        with pytest.raises(PipelineClosedError):
            await made.aingest()

    asyncio.run(main())


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_task_keeps_what_is_stored_and_no_lease(tmp_path: Path, times: int) -> None:
    async def main() -> None:
        provider = Waiting()
        async with opened(tmp_path, provider) as made:
            task = asyncio.create_task(made.aingest())
            await until(provider.reached)
            await cancelled(task, provider, times)
            assert made.status().jobs[0].state == "interrupted"

            other, clock = ScriptedProvider(BARS), FakeClock()
            async with opened(tmp_path, other, clock) as second:
                assert (await second.aingest()).ok
            assert clock.slept == [], "no lease was left that it had to wait for"
            assert sorted({day.split()[0] for day in other.asked}) == SYMBOLS[1:]

    asyncio.run(main())
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == BARS["AAPL"][TUESDAY]


def test_a_task_that_is_cancelled_before_its_turn_ends_alone(tmp_path: Path) -> None:
    async def main() -> None:
        provider = Waiting()
        async with opened(tmp_path, provider) as made:
            first = asyncio.create_task(made.aingest())
            await until(provider.reached)
            second = asyncio.create_task(made.aingest())
            await asyncio.sleep(0)  # it is called, and waits
            second.cancel()
            provider.go.set()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert (await first).ok

    asyncio.run(main())


def test_a_timeout_is_a_timeout(tmp_path: Path) -> None:
    async def main() -> None:
        provider = Waiting()
        async with opened(tmp_path, provider) as made:
            made.subscribe(BarsStored, lambda _: None)
            asyncio.get_running_loop().call_later(0.1, provider.go.set)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await made.aingest()

    asyncio.run(main())


def test_leaving_the_block_stops_a_task_that_was_not_awaited(tmp_path: Path) -> None:
    async def main() -> str:
        provider = Waiting()
        async with opened(tmp_path, provider) as made:
            task = asyncio.create_task(made.aingest())
            await until(provider.reached)
            asyncio.get_running_loop().call_later(0.02, provider.go.set)
        assert provider.closed
        return (await task).state

    assert asyncio.run(main()) == "interrupted"


def test_an_error_of_the_call_is_raised_and_no_run_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, ScriptedProvider(BARS)) as made:
            with pytest.raises(ConfigurationError):
                await made.aaudit()
            assert (await made.aingest()).ok

    asyncio.run(main())
