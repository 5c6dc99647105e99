from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, as_completed
from itertools import product
from typing import Final, TypeVar

from attrs import evolve

from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    EndlessPagingError,
    MarketPipeError,
    RateLimitedError,
    TransientProviderError,
)
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock

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


FAILURES_IN_A_ROW: Final = 12
T = TypeVar("T")


class BlameFinder:
    """One symbol-day for which a provider has no proper answer must not take the rest of its request with it.

    A request that fails is cut in two along its symbols and along its sessions, until what fails is a symbol-day alone.
    The parts are asked for breadth first, so that a provider which answers at all soon answers one. Where nothing is
    answered, ``FAILURES_IN_A_ROW`` requests long and over all batches of a job, it is the provider that is in trouble:
    requests then fail whole, until one is answered again.
    """

    def __init__(self, planner: IngestionPlanner) -> None:
        self._planner = planner
        self._in_a_row = 0

    def begin(self) -> None:
        self._in_a_row = 0

    def answered(self) -> None:
        self._in_a_row = 0

    def parts(
        self, request: BarsRequest, open_days: Collection[SymbolDay], error: MarketPipeError
    ) -> tuple[BarsRequest, ...]:
        """What to ask for instead of the request that failed; nothing where its open days have failed for good."""
        if not _may_be_of_one_day(request, error):
            return ()
        self._in_a_row = 1 if len(open_days) < len(request.symbol_days) else self._in_a_row + 1
        if len(open_days) < 2 or self._in_a_row >= FAILURES_IN_A_ROW:
            return ()
        return tuple(evolve(part, probing=len(part.symbol_days) > 1) for part in self._cut(request, open_days))

    def _cut(self, request: BarsRequest, open_days: Collection[SymbolDay]) -> tuple[BarsRequest, ...]:
        left = self._planner.narrowed(request, open_days)
        if len(left) > 1:
            return left
        return tuple(part for days in _quarters(left[0]) for part in self._planner.narrowed(left[0], days))


def _may_be_of_one_day(request: BarsRequest, error: MarketPipeError) -> bool:
    """A rate limit that outlasts all patience has nothing to do with what was asked for."""
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
