"""Bisecting a failing request, so that one bad symbol-day does not take the rest of its request with it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import Final, TypeVar

from attrs import evolve

from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    EndlessPagingError,
    MarketPipeError,
    RateLimitedError,
    TransientProviderError,
)
from marketpipe.shared_kernel.domain.symbol import SymbolDay

FAILURES_IN_A_ROW: Final = 12
"""After so many failed requests without a response in between, requests are not cut any more."""
T = TypeVar("T")


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
