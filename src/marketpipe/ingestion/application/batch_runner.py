"""Running batches over an executor: threads, worker processes behind threads, or a cluster's own executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import JobStoppingError, MarketPipeError
from marketpipe.shared_kernel.domain.timestamp import Clock

BatchFunction = Callable[[BarsRequest], MarketPipeError | None]
"""Carries one batch round the ring; returns the error that ended it early, None if it came to its end."""
BatchFuture = Future[MarketPipeError | None]


class BatchRunner:
    """Runs batches over an executor. A batch that fails does not stop the others; a ``JobStoppingError`` stops all."""

    def __init__(
        self, clock: Clock, new_executor: Callable[[], Executor], stop_workers: Callable[[], None] = lambda: None
    ) -> None:
        """``stop_workers`` stops workers that cannot see this object, such as other processes."""
        self._clock, self._new_executor, self._stop_workers = clock, new_executor, stop_workers
        self.stopping = False

    def stop(self) -> None:
        """Let workers finish the symbol-days that they have begun, and request nothing more. Safe from any thread."""
        self.stopping = True
        self._clock.interrupt()
        self._stop_workers()

    def go(self) -> None:
        self.stopping = False
        self._clock.resume()

    def run(
        self, batches: Sequence[BarsRequest], run_batch: BatchFunction, after_each: Callable[[], None] = lambda: None
    ) -> None:
        """Return when all workers are idle. Raises ``JobStoppingError``, and what a bug in ``run_batch`` raises.

        ``after_each`` batch is called on the caller's thread, while other batches are running.
        """
        executor, futures, done = self._new_executor(), list[BatchFuture](), False
        try:
            for batch in batches:
                futures.append(executor.submit(self._run_one, run_batch, batch))
            for future in as_completed(futures):
                after_each()
                if future.exception() is None and isinstance(error := future.result(), JobStoppingError):
                    raise error
            for future in futures:
                future.result()  # a bug, such as in a user's provider, surfaces once the other batches are done
            done = True
        finally:
            self._shut_down(executor, () if done else futures)

    def _run_one(self, run_batch: BatchFunction, batch: BarsRequest) -> MarketPipeError | None:
        if self.stopping:
            return None
        error = run_batch(batch)
        if isinstance(error, JobStoppingError):
            self.stop()
        return error

    def _shut_down(self, executor: Executor, unfinished: Sequence[BatchFuture]) -> None:
        """Wait for the workers; if batches are ``unfinished``, stop them first."""
        was_stopping = self.stopping
        if unfinished:
            self.stop()
            for future in unfinished:  # not shutdown(cancel_futures=True): executors such as Dask's do not take it
                future.cancel()
        executor.shutdown(wait=True)
        if unfinished and not was_stopping:
            self.go()
