from __future__ import annotations

import threading
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from marketpipe.ingestion.application.batch_runner import BatchRunner
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import CredentialsError, MarketPipeError, StoreUnreachableError
from marketpipe.testing import FakeClock, bars_request
from tests.support.inline_executor import InlineExecutor

BATCHES = [bars_request(("AAPL",), "2024-01-02", "2024-01-02", batch_id=number) for number in range(6)]
TIMEOUT_SECONDS = 20


class _PlainExecutor(ThreadPoolExecutor):
    """One whose ``shutdown`` takes no ``cancel_futures``, as that of Dask."""

    def shutdown(self, wait: bool = True) -> None:  # type: ignore[override]
        super().shutdown(wait=wait)


@pytest.mark.parametrize("error", [CredentialsError("401"), StoreUnreachableError("no answer")])
@pytest.mark.parametrize("new_executor", [InlineExecutor, lambda: _PlainExecutor(1), lambda: _PlainExecutor(2)])
def test_what_every_batch_would_meet_stops_all_that_have_not_begun(
    new_executor: type[Executor], error: MarketPipeError
) -> None:
    begun = list[BarsRequest]()

    def refuse(batch: BarsRequest) -> MarketPipeError:
        begun.append(batch)
        return error

    runner = BatchRunner(FakeClock(), new_executor)
    with pytest.raises(type(error)):
        runner.run(BATCHES, refuse)

    assert len(begun) <= 2


def test_an_error_on_the_callers_thread_cancels_waiting_batches_and_waits_for_running_ones() -> None:
    runs, may_end, ended = threading.Event(), threading.Event(), list[int]()

    def run(batch: BarsRequest) -> None:
        if batch.batch_id:
            runs.set()
            assert may_end.wait(TIMEOUT_SECONDS)
        ended.append(batch.batch_id)

    def fail() -> None:
        assert runs.wait(TIMEOUT_SECONDS)
        threading.Timer(0.05, may_end.set).start()
        raise KeyboardInterrupt

    runner = BatchRunner(FakeClock(), lambda: _PlainExecutor(1))
    with pytest.raises(KeyboardInterrupt):
        runner.run(BATCHES, run, fail)

    assert ended == [0, 1]
    assert not runner.stopping, "it was stopped for its workers only"
