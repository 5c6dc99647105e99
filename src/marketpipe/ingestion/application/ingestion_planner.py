"""Planning: what is wanted, minus what checkpoints and stored files show to be settled."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import date
from itertools import takewhile

from attrs import evolve, frozen

from marketpipe.ingestion.application.job_scheduler import JobScheduler, KnownHours, WantedDates
from marketpipe.ingestion.application.ports import Checkpoints, Statistics
from marketpipe.ingestion.domain.coverage.verdict import Finding, Gap, Verdict, gaps_in
from marketpipe.ingestion.domain.ingestion_checkpoint import CLOCKS_DIFFER, IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan, IngestionScope, SessionFinality, TypicalVolumes
from marketpipe.ingestion.domain.store_status import SymbolSummary
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import OfficialDays, StoreInventory, VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import (
    EVERY_YEAR,
    SessionHours,
    SessionKind,
    TradingCalendar,
    TradingDate,
    TradingSession,
)

MOST_READINGS, MOST_RANGES = 5, 10_000
DAYS_A_SESSION, LONGEST_HOLIDAY = 2, 7
"""Calendar days: with weekends, and beyond holidays."""
FEWEST_BARS = 15
"""Of the last day of a symbol that is requested again after it fell silent."""
Checked = Mapping[TradingDate, IngestionCheckpoint]
Conditions = Mapping[TradingDate, VersionCondition]


class IngestionPlanner:
    """Compares what is wanted with the checkpoints and with the stored files. Changes nothing."""

    def __init__(
        self,
        scheduler: JobScheduler,
        checkpoints: Checkpoints,
        statistics: Statistics,
        inventory: StoreInventory,
        clock: Clock,
    ) -> None:
        self._scheduler, self._checkpoints, self._statistics = scheduler, checkpoints, statistics
        self._inventory, self._clock = inventory, clock

    def plan(self, scope: IngestionScope, suspect: Collection[SymbolDay] = ()) -> IngestionPlan:
        """Return the plan for the days of the scope that are not settled, and for settled ``suspect`` days.

        What was recorded by a clock that ran ahead counts as suspect.
        """
        now = self._clock.now()
        again = {*suspect, *self._checkpoints.premature(now.plus(CLOCKS_DIFFER))}
        known = known_days(scope, self._checkpoints, self._inventory, again)
        plan = self._scheduler.plan(scope, known.hours, now)
        if plan.batches:  # typical volumes take a while to compute, and matter only for batches
            plan = self._scheduler.plan(scope, known.hours, now, self._volumes(scope))
        return evolve(plan, unrecorded=known.unrecorded)

    def plan_again(self, scope: IngestionScope, wanted: WantedDates) -> IngestionPlan:
        """Plan just the ``wanted`` dates, whatever is known of them."""
        return self._scheduler.plan_again(scope, wanted, self._clock.now(), self._volumes(scope))

    def narrowed(self, request: BarsRequest, days: Collection[SymbolDay]) -> tuple[BarsRequest, ...]:
        """Return the requests for just these of a request's symbol-days."""
        return tuple(self._scheduler.narrowed(request, days))

    def _volumes(self, scope: IngestionScope) -> TypicalVolumes:
        return TypicalVolumes(self._statistics.typical_volumes(scope.symbols), self._statistics.typical_volume())


@frozen
class KnownDays:
    """The ``hours`` for which each symbol-day needs no request, and the days with a file and without a checkpoint."""

    hours: KnownHours
    unrecorded: frozenset[SymbolDay]


def known_days(
    scope: IngestionScope, checkpoints: Checkpoints, inventory: StoreInventory, suspect: Collection[SymbolDay] = ()
) -> KnownDays:
    """Return what is known of a scope's symbol-days.

    A checkpoint is ignored if its file is gone or altered, if it is of an empty day and there is a file, or if the
    symbol-day is ``suspect``.
    """
    suspects, unrecorded = frozenset(suspect), set[SymbolDay]()
    hours: dict[Symbol, Mapping[TradingDate, SessionHours]] = {}
    with_suspects = {day.symbol for day in suspects}
    for symbol in scope.symbols:
        first, last = scope.first_of(symbol), scope.last
        settled, marks = checkpoints.settled_hours_and_marks(symbol, first, last)
        # Nearly always all files have the recorded marks: then their days need not be examined one by one.
        if symbol not in with_suspects and inventory.marks(symbol, first, last) == marks:
            hours[symbol] = settled
            continue
        checked, conditions = examine(symbol, first, last, checkpoints, inventory)
        hours[symbol] = _settled_hours(symbol, checked, conditions, suspects)
        unrecorded.update(
            SymbolDay(symbol, date)
            for date, condition in conditions.items()
            if condition is VersionCondition.UNRECORDED and date not in checked
        )
    return KnownDays(hours, frozenset(unrecorded))


def present_summaries(
    statistics: Statistics, checkpoints: Checkpoints, inventory: StoreInventory
) -> Sequence[SymbolSummary]:
    """Return a summary of each symbol with a checkpoint, in which files that are gone do not count; ascending.

    Files are only listed: one that was altered counts as it was recorded.
    """
    return [_present(summary, statistics, checkpoints, inventory) for summary in statistics.summaries()]


def _present(
    summary: SymbolSummary, statistics: Statistics, checkpoints: Checkpoints, inventory: StoreInventory
) -> SymbolSummary:
    symbol, first, last = summary.symbol, summary.first, summary.last
    _, recorded = checkpoints.settled_hours_and_marks(symbol, first, last)
    try:
        # Read after the records: a file that was published meanwhile is no difference.
        lost = recorded.keys() - inventory.marks(symbol, first, last).keys()
    except StorageError as error:
        return evolve(summary, error=str(error))
    if not lost:
        return summary
    files = statistics.recorded_files(symbol)
    return summary.without([file for date, file in files.items() if date.day in lost])


def with_official_days(
    summaries: Iterable[SymbolSummary], symbols: Iterable[Symbol], official: OfficialDays
) -> Sequence[SymbolSummary]:
    """Add to the summaries what is stored of official days, also of ``symbols`` without a checkpoint; ascending."""
    found: dict[Symbol, SymbolSummary] = {summary.symbol: summary for summary in summaries}
    for symbol in symbols:
        known = found.get(symbol)
        try:
            of_days = SymbolSummary.of_days(symbol, official.answered(symbol, *EVERY_YEAR).values())
        except StorageError as error:
            if known is not None:
                found[symbol] = evolve(known, error=str(error))
            continue
        if added := of_days if known is None else known.with_days(of_days):
            found[symbol] = added
    return [found[symbol] for symbol in sorted(found)]


RangeOfSymbol = tuple[Symbol, TradingDate, SessionKind, TradingDate, TradingDate, int]
"""A symbol, its first date, the hours, and the sessions that were compared: the first, the last, and how many."""


class CompleteRanges:
    """Remembers which ranges had no gap, each with what shows that nothing has changed since.

    So those who load the same bars again and again compare each file with what it was, and not with its record.
    """

    def __init__(self, known: MutableMapping[RangeOfSymbol, object], evidence: Callable[[Symbol], object]) -> None:
        """``known`` lasts longer than this object. ``evidence`` returns what is equal only if neither the records nor
        the day files of a symbol have changed; both are read before, not after, they are compared.
        """
        self._known, self._evidence = known, evidence

    def has(self, wanted: RangeOfSymbol) -> bool:
        return self._known.get(wanted) == self._evidence(wanted[0])

    def add(self, wanted: RangeOfSymbol) -> None:
        if len(self._known) >= MOST_RANGES:
            self._known.clear()
        self._known[wanted] = self._evidence(wanted[0])


class GapFinder:
    """Finds the sessions that a plan would request, each with its reason. Changes nothing.

    It reads checkpoints and lists folders, and opens no file that has its recorded mark. What the bars themselves show
    is left to ``CoverageAssessor``, and what a clock that was ahead has recorded too.
    """

    def __init__(
        self,
        calendar: TradingCalendar,
        finality: SessionFinality,
        checkpoints: Checkpoints,
        inventory: StoreInventory,
        clock: Clock,
        days: OfficialDays | None = None,
        complete: CompleteRanges | None = None,
    ) -> None:
        """``days``: daily bars that may be stored without minutes, as in a store of imported bars. ``complete`` has the
        symbols that need not be compared again.
        """
        self._complete = complete
        self._calendar, self._finality, self._clock = calendar, finality, clock
        self._checkpoints, self._inventory, self._days = checkpoints, inventory, days

    def gaps(self, scope: IngestionScope, reads_minutes: Collection[Symbol], *, by_day: bool = False) -> list[Gap]:
        """Return what is missing, partial or altered by symbol, then date; a session that is not final is no gap.

        Only for the symbols whose minutes are to be read are the files compared with their records. ``by_day``: a
        session has no gap either if its daily bar is stored without minutes.
        """
        now, found, wanted = self._clock.now(), list[Gap](), scope.session_kind.hours
        sessions = self._begun(scope, now)
        dates, read = [session.trading_date for session in sessions], frozenset(reads_minutes)
        for symbol in scope.symbols if sessions else ():
            known = self._complete if symbol in read and not by_day else None
            wanted_of_symbol = symbol, scope.first_of(symbol), scope.session_kind, dates[0], dates[-1], len(dates)
            if known is not None and known.has(wanted_of_symbol):
                continue
            settled = self._settled(symbol, scope, with_files=symbol in read)
            if by_day and self._days is not None:
                settled = {*settled, *_answered(self._days, symbol, scope)}
            open_days = [session for session in sessions if session.trading_date.day not in settled]
            if open_days:
                asked = [self._finality.ask(session, scope.session_kind, now) for session in open_days]
                found += gaps_in(symbol, dates, self._findings(symbol, [each for each in asked if each], wanted))
            elif known is not None:
                known.add(wanted_of_symbol)
        return found

    def gaps_on(self, scope: IngestionScope, findings: Mapping[Symbol, Mapping[TradingDate, Finding]]) -> list[Gap]:
        """Return the gaps that these findings on sessions of the scope make, by symbol, then date."""
        dates = [session.trading_date for session in self._begun(scope, self._clock.now())]
        return [gap for symbol in scope.symbols for gap in gaps_in(symbol, dates, findings.get(symbol, {}))]

    def without_days(self, scope: IngestionScope, gaps: Sequence[Gap]) -> list[Gap]:
        """Return the gaps without the sessions that lack only minutes: their daily bars are stored."""
        if self._days is None:
            return list(gaps)
        dates, found = [session.trading_date for session in self._begun(scope, self._clock.now())], list[Gap]()
        for gap in gaps:
            if gap.finding.verdict not in (Verdict.MISSING, Verdict.PARTIAL):
                found.append(gap)
                continue
            known = frozenset(_answered(self._days, gap.symbol, scope))
            within = [date for date in dates if gap.first <= date <= gap.last]
            found += gaps_in(gap.symbol, within, {date: gap.finding for date in within if date.day not in known})
        return found

    def _settled(self, symbol: Symbol, scope: IngestionScope, *, with_files: bool) -> Collection[date]:
        wanted, first = scope.session_kind.hours, scope.first_of(symbol)
        if not with_files:
            return self._checkpoints.settled_dates(symbol, first, scope.last, wanted)
        known = known_days(evolve(scope, symbols=[symbol]), self._checkpoints, self._inventory).hours[symbol]
        return {date.day for date, hours in known.items() if hours.covers(wanted)}

    def _begun(self, scope: IngestionScope, now: Timestamp) -> list[TradingSession]:
        """Return the sessions that may be requested at ``now``. Of a year nearly all are final, and begun for sure."""
        found, kind = list(self._calendar.reaching(scope.first, scope.last)), scope.session_kind
        final = bisect_left(found, True, key=lambda session: not self._finality.is_final(session, now))
        return found[:final] + [each for each in found[final:] if self._finality.ask(each, kind, now) is not None]

    def _findings(
        self, symbol: Symbol, sessions: Sequence[AskedSession], wanted: SessionHours
    ) -> Mapping[TradingDate, Finding]:
        from marketpipe.ingestion.domain.coverage.classification import finding_on_record

        first, last = sessions[0].trading_date, sessions[-1].trading_date
        checked, conditions = examine(symbol, first, last, self._checkpoints, self._inventory)
        found = {
            date: finding_on_record(checked.get(date), conditions.get(date), wanted, is_final=asked.final)
            for asked in sessions
            for date in (asked.trading_date,)
        }
        return {date: finding for date, finding in found.items() if finding is not None and finding.verdict.is_gap}


def _answered(days: OfficialDays, symbol: Symbol, scope: IngestionScope) -> Iterator[date]:
    for answered in days.answered(symbol, scope.first.day.year, scope.last.day.year).values():
        yield from (each.day for each in answered.dates)


def unconfirmed_ends(
    symbols: Collection[Symbol], checkpoints: Checkpoints, sessions: int, confirmations: int
) -> frozenset[SymbolDay]:
    """Return the silent days directly after the last bars of symbols that were requested on too few dates.

    If ``sessions`` of them were requested on ``confirmations`` dates, the symbol is not listed any more: none is
    returned, so that it is not requested for ever. Symbols that often have no bars are left out.
    """
    settled, most = checkpoints.latest_settled(), 2 * sessions
    found: set[SymbolDay] = set()
    for symbol, (_, last) in checkpoints.stored_spans().items():
        if symbol not in symbols or last >= settled.get(symbol, last):
            continue
        records = checkpoints.between(symbol, last, last.plus_days(DAYS_A_SESSION * most + LONGEST_HOLIDAY))
        if records[last].rows < FEWEST_BARS:
            continue
        after = [(date, known) for date, known in records.items() if date > last]
        silent = list(takewhile(lambda day: day[1].outcome is Outcome.EMPTY, after[:most]))
        if len(silent) < sessions or any(known.days < confirmations for _, known in silent[:sessions]):
            found.update(SymbolDay(symbol, date) for date, known in silent if known.days < confirmations)
    return frozenset(found)


def examine(
    symbol: Symbol, first: TradingDate, last: TradingDate, checkpoints: Checkpoints, inventory: StoreInventory
) -> tuple[Checked, Conditions]:
    """Return a symbol's checkpoints between the dates, both inclusive, and how its files differ from them."""
    checked = checkpoints.between(symbol, first, last)
    for _ in range(MOST_READINGS):
        recorded = {date: known.version for date, known in checked.items() if known.version is not None}
        conditions = inventory.conditions(symbol, first, last, recorded)
        # Another process may publish a file and record it between the two readings: a difference counts only if the
        # checkpoints are still the same after the files were read.
        if not conditions or (again := checkpoints.between(symbol, first, last)) == checked:
            break
        checked = again
    return checked, conditions


def _settled_hours(
    symbol: Symbol, checked: Checked, conditions: Conditions, suspects: frozenset[SymbolDay]
) -> Mapping[TradingDate, SessionHours]:
    return {
        date: known.settled_hours
        for date, known in checked.items()
        if known.settled_hours
        and conditions.get(date) is None
        and not (suspects and SymbolDay(symbol, date) in suspects)
    }
