from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import CredentialsError, MarketPipeError

Work = Callable[[BarsRequest], MarketPipeError | None]
"""Carries one batch round the ring, and gives back what ended it before its time."""


class BatchRunner:
    """Runs batches over an executor. One that fails does not stop the others; refused credentials stop all."""

    def __init__(
        self, clock: Clock, new_executor: Callable[[], Executor], stop_workers: Callable[[], None] = lambda: None
    ) -> None:
        """``stop_workers`` reaches those who cannot see that this runner is stopping."""
        self._clock, self._new_executor, self._stop_workers = clock, new_executor, stop_workers
        self.stopping = False

    def stop(self) -> None:
        """Workers finish the symbol-days in hand and ask for nothing more. Safe to call from any thread."""
        self.stopping = True
        self._clock.interrupt()
        self._stop_workers()

    def go(self) -> None:
        self.stopping = False
        self._clock.resume()

    def run(self, batches: Sequence[BarsRequest], work: Work, after_each: Callable[[], None] = lambda: None) -> None:
        """Returns when no worker is busy any more. Raises ``CredentialsError``, and what a bug in ``work`` raises.

        ``after_each`` batch something may be done on the caller's thread, while others are at work.
        """
        executor, through = self._new_executor(), False
        try:
            futures = [executor.submit(self._run, work, batch) for batch in batches]
            for future in as_completed(futures):
                after_each()
                if future.exception() is None and isinstance(error := future.result(), CredentialsError):
                    raise error
            for future in futures:
                future.result()  # a bug, such as in somebody's provider, surfaces once the other batches are done
            through = True
        finally:
            if through:
                executor.shutdown()
            else:
                self._wait_for_workers(executor)

    def _run(self, work: Work, batch: BarsRequest) -> MarketPipeError | None:
        if self.stopping:
            return None
        error = work(batch)
        if isinstance(error, CredentialsError):
            self.stop()
        return error

    def _wait_for_workers(self, executor: Executor) -> None:
        """Where a run ends early, they finish the symbol-days in hand."""
        asked_to_stop = self.stopping
        self.stop()
        executor.shutdown(wait=True, cancel_futures=True)
        if not asked_to_stop:
            self.go()
