from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

from marketpipe.ingestion.domain.batch_packing import PackingLimits, pack
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.session_finality import SessionFinality
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.domain.trading_date import TradingDate

UNKNOWN_BARS_PER_DAY = 60.0
"""Low on purpose: a batch of liquid symbols then has many pages, which costs nothing; one of thin ones fills some."""


class JobScheduler:
    """The trading calendar minus what is settled is what is missing; packed into requests that fill pages."""

    def __init__(self, calendar: TradingCalendar, finality: SessionFinality, limits: PackingLimits) -> None:
        self._calendar, self._finality, self._limits = calendar, finality, limits
        self._batch_ids = count(1)

    def plan(
        self,
        scope: IngestionScope,
        settled: Mapping[Symbol, frozenset[TradingDate]],
        now: Timestamp,
        bars_per_day: float | None = None,
    ) -> IngestionPlan:
        """``bars_per_day``: what a symbol is known to bring; None where nothing is known."""
        sessions = self._calendar.sessions(scope.first, scope.last)
        asked = [self._finality.ask(session, scope.session_kind, now) for session in sessions]
        begun = [session for session in asked if session is not None]
        missing = _missing(scope.symbols, begun, settled)
        typical = bars_per_day or UNKNOWN_BARS_PER_DAY
        batches = tuple(
            BarsRequest(next(self._batch_ids), symbols, tuple(begun[first : last + 1]), scope.session_kind)
            for symbols, (first, last) in pack(missing, typical, self._limits)
        )
        wanted = len(scope.symbols) * len(begun)
        open_days = sum(len(positions) for positions in missing.values())
        return IngestionPlan(batches, wanted - open_days, len(scope.symbols) * (len(asked) - len(begun)))


def _missing(
    symbols: Iterable[Symbol], sessions: list[AskedSession], settled: Mapping[Symbol, frozenset[TradingDate]]
) -> dict[Symbol, list[int]]:
    dates = [session.trading_date for session in sessions]
    missing = {}
    for symbol in symbols:
        known = settled.get(symbol, frozenset())
        if positions := [i for i, day in enumerate(dates) if day not in known]:
            missing[symbol] = positions
    return missing
