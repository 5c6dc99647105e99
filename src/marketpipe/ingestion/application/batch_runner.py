"""Running batches: over an executor (threads, worker processes behind threads, a cluster's own executor), and in parts.

A failing request is bisected, so that one bad symbol-day does not take the rest of its request with it (ADR 0014).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor, Future, as_completed
from itertools import product
from typing import Final, Protocol, TypeVar

from attrs import evolve

from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    EndlessPagingError,
    EngineFailedError,
    JobStoppingError,
    MarketPipeError,
    RateLimitedError,
    StoreUnreachableError,
    TransientProviderError,
)
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock

T = TypeVar("T")

BatchFunction = Callable[[BarsRequest], MarketPipeError | None]
"""Carries one batch round the ring; returns the error that ended it early, None if it came to its end."""
BatchFuture = Future[MarketPipeError | None]
JOB_ENDING: Final = (JobStoppingError, EngineFailedError, StoreUnreachableError)
"""Every further batch would end with the same error."""


class Stoppable(Protocol):
    """Something that runs. Both methods are safe from any thread and from a signal handler."""

    def stop(self) -> None:
        """Ask it to end soon, and let nothing begin until ``go``."""

    def go(self) -> None: ...


class BatchRunner:
    """Runs batches over an executor. A batch that fails does not stop the others; a ``JOB_ENDING`` error
    stops all.
    """

    def __init__(
        self,
        clock: Clock,
        new_executor: Callable[[], Executor],
        workers: Stoppable | None = None,
        completed: Callable[[Sequence[BatchFuture]], Iterable[BatchFuture]] = as_completed,
    ) -> None:
        """``workers`` are those that cannot see this object, such as other processes: they are stopped with it.

        ``completed`` yields futures of the executor as they are done.
        """
        self._completed = completed
        self._clock, self._new_executor, self._workers = clock, new_executor, workers
        self.stopping = False

    def stop(self) -> None:
        """Let workers finish the symbol-days that they have begun, and request nothing more, until ``go``."""
        self.stopping = True
        self._clock.interrupt()
        if self._workers is not None:
            self._workers.stop()

    def go(self) -> None:
        self.stopping = False
        self._clock.resume()
        if self._workers is not None:
            self._workers.go()

    def run(
        self, batches: Sequence[BarsRequest], run_batch: BatchFunction, after_each: Callable[[], None] = lambda: None
    ) -> None:
        """Return when all workers are idle. Raises a ``JOB_ENDING`` error, and what a bug in ``run_batch`` raises.

        ``after_each`` batch is called on the caller's thread, while other batches are running.
        """
        executor, futures, done = self._new_executor(), list[BatchFuture](), False
        try:
            for batch in batches:
                futures.append(executor.submit(self._run_one, run_batch, batch))
            for future in self._completed(futures):
                after_each()
                if future.exception() is None and isinstance(error := future.result(), JOB_ENDING):
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
        if isinstance(error, JOB_ENDING):
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


FAILURES_IN_A_ROW: Final = 12
"""After so many failed requests without a response in between, requests are not cut any more."""


class RequestBisection:
    """Halves the symbols and the sessions of a failing request, again and again, until a single symbol-day fails.

    The parts are requested breadth first, so that a provider that responds to anything does so soon. If
    ``FAILURES_IN_A_ROW`` requests fail, over all batches of a job, the provider itself has failed: requests then fail
    as they are, until one succeeds again.
    """

    def __init__(self, planner: IngestionPlanner) -> None:
        self._planner = planner
        self._in_a_row = 0

    def reset(self) -> None:
        """Forget earlier failures: a job begins, or a request was answered."""
        self._in_a_row = 0

    def parts(
        self, request: BarsRequest, open_days: Collection[SymbolDay], error: MarketPipeError
    ) -> tuple[BarsRequest, ...]:
        """Return what to request instead of the request that failed; nothing if its open days have failed for good."""
        if not _may_be_of_one_day(request, error):
            return ()
        self._in_a_row = 1 if len(open_days) < len(request.symbol_days) else self._in_a_row + 1
        if len(open_days) < 2 or self._in_a_row >= FAILURES_IN_A_ROW:
            return ()
        parts = self._planner.narrowed(request, open_days)
        if len(parts) == 1:
            (left,) = parts
            parts = tuple(part for days in _quarters(left) for part in self._planner.narrowed(left, days))
        return tuple(evolve(part, probing=len(part.symbol_days) > 1) for part in parts)


def _may_be_of_one_day(request: BarsRequest, error: MarketPipeError) -> bool:
    # A rate limit that outlasts the full retries does not depend on the symbols and sessions of a request; one met
    # with the few retries of probing proves nothing.
    if isinstance(error, RateLimitedError):
        return request.probing
    return isinstance(error, TransientProviderError | EndlessPagingError)


def _quarters(request: BarsRequest) -> list[set[SymbolDay]]:
    return [
        {SymbolDay(symbol, asked.trading_date) for symbol in symbols for asked in sessions}
        for symbols, sessions in product(_halves(request.symbols), _halves(request.sessions))
    ]


def _halves(items: tuple[T, ...]) -> list[tuple[T, ...]]:
    middle = len(items) // 2
    return [half for half in (items[:middle], items[middle:]) if half]
