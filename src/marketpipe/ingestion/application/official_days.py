"""Requesting the exchange's official days: before the minutes of a job, and whatever becomes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import count
from typing import Final

from attrs import define, evolve, field

from marketpipe.ingestion.application.batch_runner import RequestBisection
from marketpipe.ingestion.application.leases import WaitForOthers
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.ingestion.domain.official_days import (
    OfficialDaysReport,
    OfficialLimits,
    OfficialPlan,
    official_day_of,
)
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    EndlessPagingError,
    IngestionInterrupted,
    JobStoppingError,
    MarketPipeError,
    StoreBusyError,
    StoreUnreachableError,
    TransientProviderError,
)
from marketpipe.shared_kernel.domain.store_inventory import OfficialDays
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingCalendar, TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import OfficialDaysChanged, OfficialDaysRequested, OfficialDaysStored

FEWEST_SYMBOLS: Final = 200
"""A request that is refused as a whole is halved down to so many symbols: a proxy may refuse a long URL."""
MOST_WAITS: Final = 60
"""So often a turn is waited for; then the process that has it is taken to hang, and these days are requested twice."""
CHANGED: Final = "the exchange's official day has changed since the minutes were stored"
Disagreeing = Callable[[IngestionScope], Collection[SymbolDay]]
"""Returns those symbol-days of a scope whose stored minutes and official day disagree."""


class OfficialDaysPlanner:
    """Finds which final symbol-days of a scope have no official day yet. Changes nothing."""

    def __init__(
        self,
        calendar: TradingCalendar,
        finality: SessionFinality,
        stored: OfficialDays,
        limits: OfficialLimits,
        clock: Clock,
    ) -> None:
        self._calendar, self._finality, self._stored = calendar, finality, stored
        self._limits, self._clock, self._numbers = limits, clock, count(1)

    def plan(
        self, scope: IngestionScope, recheck: TradingDate | None = None, again: Collection[SymbolDay] = ()
    ) -> OfficialPlan:
        """Plan what is missing, all days from ``recheck`` on and those of ``again``, whatever is known of them."""
        now = self._clock.now()
        sessions = self._calendar.sessions(scope.first, scope.last)
        asked = [official_day_of(session) for session in sessions if self._finality.is_final(session, now)]
        if not asked:
            return OfficialPlan()
        missing = self._missing(scope, asked, recheck, dates_by_symbol(again))
        bundles = list(self._limits.bundles(missing))
        requests = (self._request(symbols, asked[first : last + 1]) for (symbols, (first, last)), _ in bundles)
        wanted = sum(map(len, missing.values()))
        return OfficialPlan(tuple(requests), wanted, sum(pages for _, pages in bundles))

    def plan_again(self, scope: IngestionScope, wanted: Mapping[Symbol, Collection[TradingDate]]) -> OfficialPlan:
        """Plan just the ``wanted`` dates of the scope that are final, whatever is known of them, and none between."""
        now = self._clock.now()
        sessions = self._calendar.sessions(scope.first, scope.last)
        asked = [official_day_of(session) for session in sessions if self._finality.is_final(session, now)]
        missing = {s: [i for i, at in enumerate(asked) if at.trading_date in wanted[s]] for s in sorted(wanted)}
        bundles = list(self._limits.exact({symbol: some for symbol, some in missing.items() if some}))
        requests = (self._request(symbols, asked[first : last + 1]) for (symbols, (first, last)), _ in bundles)
        return OfficialPlan(tuple(requests), sum(map(len, missing.values())), sum(pages for _, pages in bundles))

    def narrowed(self, request: BarsRequest, symbols: Sequence[Symbol]) -> BarsRequest:
        """Return the request for some of its symbols."""
        return evolve(request, batch_id=next(self._numbers), symbols=tuple(symbols))

    def _request(self, symbols: tuple[Symbol, ...], asked: Sequence[AskedSession]) -> BarsRequest:
        return BarsRequest(next(self._numbers), symbols, tuple(asked), timeframe=Timeframe.DAY_1)

    def _missing(
        self,
        scope: IngestionScope,
        asked: Sequence[AskedSession],
        recheck: TradingDate | None,
        again: Mapping[Symbol, Collection[TradingDate]],
    ) -> Mapping[Symbol, list[int]]:
        """Return the positions of the sessions to request, by symbol; nearly always a symbol has none."""
        dates = [session.trading_date for session in asked]
        position, wanted = {date: number for number, date in enumerate(dates)}, _years(dates)
        recent = _years([] if recheck is None else [date for date in dates if date >= recheck])
        found = dict[Symbol, list[int]]()
        for symbol in scope.symbols:
            first = scope.first_of(symbol)
            answered = self._stored.answered(symbol, dates[0].day.year, dates[-1].day.year)
            lacking = {
                year: (days - answered.get(year, DaysOfYear(year))) | recent.get(year, DaysOfYear(year))
                for year, days in wanted.items()
            }
            missing = {date for days in lacking.values() if days.bits for date in days.dates}
            missing |= position.keys() & frozenset(again.get(symbol, ()))
            if some := sorted(position[date] for date in missing if date >= first):
                found[symbol] = some
        return found


def _years(dates: Sequence[TradingDate]) -> Mapping[int, DaysOfYear]:
    by_year = dict[int, list[TradingDate]]()
    for date in dates:
        by_year.setdefault(date.day.year, []).append(date)
    return {year: DaysOfYear.of(year, some) for year, some in by_year.items()}


@define
class _Progress:
    """What became of the requests so far."""

    requested: int = 0
    answered: int = 0
    left: int = 0
    changed: list[SymbolDay] = field(factory=list)
    failures: dict[SymbolDay, str] = field(factory=dict)

    def fail(self, request: BarsRequest, reason: str) -> None:
        self.failures.update(dict.fromkeys(request.symbol_days, reason))

    def report(self) -> OfficialDaysReport:
        return OfficialDaysReport(self.requested, self.answered, self.left, tuple(sorted(self.changed)), self.failures)


class OfficialDaysCoordinator:
    """Requests official days, one request after another on the caller's thread, and records what was stored.

    A page has 10,000 symbol-days, so there are few requests: one for some 400 of minutes. Nothing that happens to them
    fails a minute: it is in the report. If the provider fails whatever is requested, the rest is given up, and the next
    ingestion requests it. Only ``JobStoppingError`` and ``StoreUnreachableError``
    are raised, as for minutes.
    """

    def __init__(
        self,
        planner: OfficialDaysPlanner,
        state: IngestionState,
        bus: EventBus,
        clock: Clock,
        bisection: RequestBisection,
        disagreeing: Disagreeing = lambda _: (),
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """``turn`` excludes every other process that requests official days of this store. It waits for a short time
        and raises ``StoreBusyError`` then, so that a wait can be stopped.
        """
        self._turn = turn
        self._planner, self._state, self._bus, self._clock = planner, state, bus, clock
        self._bisection, self._disagreeing = bisection, disagreeing
        self._progress = _Progress()

    def ask(
        self,
        scope: IngestionScope,
        recheck: TradingDate | None = None,
        stopping: Callable[[], bool] = lambda: False,
        again: Collection[SymbolDay] = (),
    ) -> OfficialDaysReport:
        """Request what is missing of the scope, all final days from ``recheck`` on and those of ``again``, until
        ``stopping`` is true.

        Processes that start together request them one after another: the first may request what the others lack.
        """
        self._progress = _Progress()
        with ExitStack() as turn:
            if not (plan := self._planner.plan(scope, recheck, again)).requests:
                return self._progress.report()
            self._take_turn(turn, stopping, plan.wanted)
            self._ask_all(deque(self._planner.plan(scope, recheck, again).requests), stopping)
        return self._progress.report()

    def ask_again(
        self,
        scope: IngestionScope,
        wanted: Mapping[Symbol, Collection[TradingDate]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> OfficialDaysReport:
        """Request just the ``wanted`` dates of the scope, whatever is known of them, until ``stopping`` is true."""
        self._progress = _Progress()
        with ExitStack() as turn:
            self._take_turn(turn, stopping, sum(map(len, wanted.values())))
            self._ask_all(deque(self._planner.plan_again(scope, wanted).requests), stopping)
        return self._progress.report()

    def disagreeing(self, scope: IngestionScope, recheck: TradingDate) -> Collection[SymbolDay]:
        """Return the symbol-days from ``recheck`` on whose stored minutes and official day disagree."""
        first = max(recheck, scope.first)
        return self._disagreeing(evolve(scope, first=first, since={})) if first <= scope.last else ()

    def on_official_days_changed(self, event: OfficialDaysChanged) -> None:
        """Mark the minutes of these days as failed, before the new official days are stored: a job requests them again,
        this one or, if it dies now, the next. That one must request the official days again too, so that new minutes
        are not compared with the former days for ever: they no longer count as answered until they are stored.
        """
        days = [change.symbol_day for change in event.changes]
        for symbol, dates in dates_by_symbol(days).items():
            self._state.official_years.reopen(symbol, dates)
            self._state.checkpoints.mark_suspect(symbol, dict.fromkeys(dates, CHANGED))
        self._progress.changed += days

    def on_official_days_stored(self, event: OfficialDaysStored) -> None:
        self._state.official_years.record(self._clock.now(), event.years)
        progress, dates = self._progress, [asked.trading_date for asked in event.request.sessions]
        for year in event.years:
            days = [SymbolDay(year.symbol, date) for date in dates if date.day.year == year.year]
            if year.error is not None:
                progress.failures.update(dict.fromkeys(days, year.error))
            else:
                failed = {SymbolDay(year.symbol, date): reason for date, reason in year.failed.items()}
                progress.failures.update(failed)
                progress.answered += len(days) - len(failed)
        for refused in event.refused:
            days = [SymbolDay(refused.symbol, date) for date in dates]
            progress.failures.update(dict.fromkeys(days, refused.reason))

    def _take_turn(self, turn: ExitStack, stopping: Callable[[], bool], wanted: int) -> None:
        wait = WaitForOthers(self._clock, self._bus.publish, official=True)
        for _ in range(MOST_WAITS):
            if stopping():
                break
            try:
                turn.enter_context(self._turn())
            except StoreBusyError:
                wait.go_on(wanted)
                continue
            break

    def _ask_all(self, left: deque[BarsRequest], stopping: Callable[[], bool]) -> None:
        progress = self._progress
        self._bisection.reset()
        progress.requested = sum(len(request.symbols) * len(request.sessions) for request in left)
        while left and not stopping():
            try:
                self._ask(left)
            except IngestionInterrupted:
                break
        progress.left = progress.requested - progress.answered - len(progress.failures)

    def _ask(self, left: deque[BarsRequest]) -> None:
        request = left.popleft()
        try:
            self._bus.publish(OfficialDaysRequested(request))
            self._bisection.reset()
        except (IngestionInterrupted, JobStoppingError, StoreUnreachableError):
            raise
        except MarketPipeError as error:
            self._failed(request, error, left)

    def _failed(self, request: BarsRequest, error: MarketPipeError, left: deque[BarsRequest]) -> None:
        """Request it in parts, or give it up; if the provider itself has failed, with all that is left."""
        if isinstance(error, BadRequestError) and len(request.symbols) > FEWEST_SYMBOLS:
            middle = len(request.symbols) // 2
            halves = request.symbols[:middle], request.symbols[middle:]
            left.extendleft(self._planner.narrowed(request, half) for half in reversed(halves))
        elif parts := self._bisection.parts(request, request.symbol_days, error):
            left.extend(parts)
        else:
            self._progress.fail(request, str(error))
            alone = len(request.symbols) == len(request.sessions) == 1
            while left and not (alone and isinstance(error, TransientProviderError | EndlessPagingError)):
                self._progress.fail(left.popleft(), str(error))
