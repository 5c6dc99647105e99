"""Scheduling: the sessions of a scope minus what is settled, packed into requests that fill pages."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count

from attrs import define, evolve, field

from marketpipe.ingestion.domain.batch_packing import PackingLimits, overnight_windows, pack, rectangles
from marketpipe.ingestion.domain.ingestion_plan import (
    IngestionPlan,
    IngestionScope,
    SessionFinality,
    TypicalVolumes,
    estimate,
)
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingCalendar, TradingDate

UNKNOWN_BARS_PER_DAY = 60.0
"""Low on purpose: batches of liquid symbols then have many pages, which costs nothing, and thin ones fill some."""
NOTHING_KNOWN = TypicalVolumes({}, None)
KnownHours = Mapping[Symbol, Mapping[TradingDate, SessionHours]]
WantedDates = Mapping[Symbol, Collection[TradingDate]]


class JobScheduler:
    """Plans the requests of a job."""

    def __init__(self, calendar: TradingCalendar, finality: SessionFinality, limits: PackingLimits) -> None:
        self._calendar, self._finality, self._limits = calendar, finality, limits
        self._batch_ids = count(1)

    def plan(
        self,
        scope: IngestionScope,
        known: KnownHours,
        now: Timestamp,
        volumes: TypicalVolumes = NOTHING_KNOWN,
    ) -> IngestionPlan:
        """Plan what is missing. ``volumes``: how many bars the symbols usually have."""
        begun, not_begun = self._sessions(scope, now)
        missing = _missing(scope, begun, known)
        return self._packed(scope, begun, missing, volumes, len(scope.symbols) * not_begun)

    def plan_again(
        self, scope: IngestionScope, wanted: WantedDates, now: Timestamp, volumes: TypicalVolumes = NOTHING_KNOWN
    ) -> IngestionPlan:
        """Plan just the ``wanted`` dates of the scope, whatever is known of them."""
        begun, _ = self._sessions(scope, now)
        positions = {s: [i for i, item in enumerate(begun) if item.trading_date in wanted[s]] for s in wanted}
        missing = _Missing({symbol: some for symbol, some in positions.items() if some})
        return self._packed(scope, begun, missing, volumes, 0)

    def narrowed(self, request: BarsRequest, days: Collection[SymbolDay]) -> Iterator[BarsRequest]:
        """Yield the requests for just these of a request's symbol-days."""
        asked = {
            s: [i for i, at in enumerate(request.sessions) if SymbolDay(s, at.trading_date) in days]
            for s in request.symbols
        }
        for symbols, (first, last) in rectangles(asked):
            sessions = request.sessions[first : last + 1]
            yield evolve(request, batch_id=next(self._batch_ids), symbols=symbols, sessions=sessions)

    def _sessions(self, scope: IngestionScope, now: Timestamp) -> tuple[list[AskedSession], int]:
        """Return the sessions that have begun, and how many have not."""
        sessions = self._calendar.sessions(scope.first, scope.last)
        asked = [self._finality.ask(session, scope.session_kind, now) for session in sessions]
        begun = [session for session in asked if session is not None]
        return begun, len(sessions) - len(begun)

    def _packed(
        self,
        scope: IngestionScope,
        begun: Sequence[AskedSession],
        missing: _Missing,
        volumes: TypicalVolumes,
        not_begun: int,
    ) -> IngestionPlan:
        around = list(overnight_windows(missing.around, begun, self._limits.symbols_per_request))
        overnight = [
            BarsRequest(next(self._batch_ids), window.symbols, window.sessions, scope.session_kind) for window in around
        ]
        typical = volumes.mean_bars(scope.symbols) or UNKNOWN_BARS_PER_DAY
        whole_days = [
            BarsRequest(next(self._batch_ids), symbols, tuple(begun[first : last + 1]), scope.session_kind)
            for symbols, (first, last) in pack(missing.whole, typical, self._limits)
        ]
        batches = (*whole_days, *overnight)
        costs = estimate(batches, volumes, self._limits)
        odd = frozenset(batch.batch_id for batch, window in zip(overnight, around, strict=True) if window.is_odd)
        return IngestionPlan(batches, missing.settled, not_begun, costs, odd)


@define
class _Missing:
    """Positions of sessions by symbol: days that lack the regular hours, and hours that others lack ``around`` them."""

    whole: dict[Symbol, list[int]] = field(factory=dict)
    around: dict[Symbol, dict[int, SessionHours]] = field(factory=dict)
    settled: int = 0


def _missing(scope: IngestionScope, sessions: Sequence[AskedSession], known: KnownHours) -> _Missing:
    missing, wanted = _Missing(), scope.session_kind.hours
    dates = [session.trading_date for session in sessions]
    for symbol in scope.symbols:
        first = bisect_left(dates, scope.first_of(symbol))
        lacking = _lacking(dates, first, known.get(symbol, {}), wanted)
        whole = [i for i, lacks in lacking.items() if SessionHours.REGULAR in lacks]
        around = {i: lacks for i, lacks in lacking.items() if SessionHours.REGULAR not in lacks}
        missing.settled += len(dates) - first - len(lacking)
        missing.whole |= {symbol: whole} if whole else {}
        missing.around |= {symbol: around} if around else {}
    return missing


def _lacking(
    dates: Sequence[TradingDate], first: int, known: Mapping[TradingDate, SessionHours], wanted: SessionHours
) -> dict[int, SessionHours]:
    """Return the lacking hours by position, from ``first`` on. Nearly always all wanted hours are known."""
    open_days = [(i, hours) for i in range(first, len(dates)) if (hours := known.get(dates[i])) is not wanted]
    lacking = ((i, wanted if hours is None else wanted & ~hours) for i, hours in open_days)
    return {i: lacks for i, lacks in lacking if lacks}
