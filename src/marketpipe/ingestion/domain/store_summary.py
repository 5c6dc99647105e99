from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate


@frozen
class SymbolSummary:
    """What is known of one symbol. Counts are symbol-days but for ``bars``, ``rejected`` and ``size_bytes``.

    ``first`` and ``last`` bound the dates that were ever asked for.
    """

    symbol: Symbol
    first: TradingDate
    last: TradingDate
    complete: int
    empty: int
    partial: int
    failed: int
    bars: int
    rejected: int
    size_bytes: int


@frozen
class JobRecord:
    """Moments are RFC 3339 in UTC; ``finished_at`` is None while the job runs."""

    job_id: int
    state: str
    started_at: str
    finished_at: str | None
    symbols: int
    first: TradingDate
    last: TradingDate
    planned: int
    done: int
    failed: int
