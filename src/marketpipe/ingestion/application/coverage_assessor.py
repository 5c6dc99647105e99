"""Assessing coverage: for every symbol and session, whether the store has it and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Final

from attrs import evolve, frozen

from marketpipe.ingestion.application.ingestion_planner import Checked, Conditions, examine
from marketpipe.ingestion.application.ports import Checkpoints
from marketpipe.ingestion.domain.coverage.baseline import CoverageThresholds, SessionGrid, grid_session
from marketpipe.ingestion.domain.coverage.classification import CoverageClassifier, suspect_if_dated_ahead
from marketpipe.ingestion.domain.coverage.daily import daily_coverage, with_days_alone, within_the_import
from marketpipe.ingestion.domain.coverage.figures.market import Copies, FigureSurvey
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.halts import KNOWN_HALTS, TradingHalt
from marketpipe.ingestion.domain.coverage.market import MarketSession, MarketSurvey, SymbolDays
from marketpipe.ingestion.domain.coverage.reconciliation import UsualRatios
from marketpipe.ingestion.domain.coverage.verdict import Evidence, SymbolCoverage, Verdict
from marketpipe.ingestion.domain.ingestion_checkpoint import CLOCKS_DIFFER, IngestionCheckpoint, premature_reason
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality, even_sample
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import OfficialDays, StoreInventory, VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingCalendar, TradingDate

StoredSpan = tuple[TradingDate, TradingDate]
Watch = Callable[[SymbolDays, SessionGrid], None]
"""Is called with what is known of one symbol in the sessions of a scope; again if that symbol is assessed again."""
NO_SPANS: Final[Mapping[Symbol, StoredSpan]] = MappingProxyType({})
SYMBOLS_OF_A_MARKET, SYMBOLS_COMPARED = 100, 20
MUCH_BETTER = 0.8
"""Times the misfit of the other symbol: less, and the bars are the symbol's own."""
DAYS_A_SESSION = 2  # with weekends and holidays between them
DAYS_BEFORE = 365
"""Calendar days before a scope that show what is usual for a symbol."""


@frozen
class _Run:
    """What one assessment judges all its symbols by."""

    scope: IngestionScope
    classifier: CoverageClassifier
    spans: Mapping[Symbol, StoredSpan]
    figures: FigureSurvey
    premature: Mapping[SymbolDay, Timestamp]
    takes_days_alone: bool
    imported: Mapping[Symbol, StoredSpan]
    watch: Watch


def _unwatched(_: SymbolDays, __: SessionGrid) -> None:
    pass


class CoverageAssessor:
    """Finds the verdict on every symbol and session of a scope. Changes nothing.

    It reads the symbols twice, one at a time, so that memory does not grow with the store: first to learn what the
    whole market did in each session, then to classify each symbol.
    """

    def __init__(
        self,
        calendar: TradingCalendar,
        finality: SessionFinality,
        checkpoints: Checkpoints,
        inventory: StoreInventory,
        clock: Clock,
        thresholds: CoverageThresholds,
        halts: Iterable[TradingHalt] = KNOWN_HALTS,
        official: OfficialDays | None = None,
        takes_days_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        """``halts``: minutes in which no bars are expected. ``official``: None if the store has no official days.

        ``takes_days_alone``: a symbol may have daily bars and no minutes, as in a store of imported bars.
        """
        self._official, self._takes_days_alone = official, takes_days_alone
        self._halts = tuple(halts)
        self._calendar, self._finality, self._clock = calendar, finality, clock
        self._checkpoints, self._inventory, self._thresholds = checkpoints, inventory, thresholds

    def assess(
        self,
        scope: IngestionScope,
        imported: Mapping[Symbol, StoredSpan] = NO_SPANS,
        watch: Watch = _unwatched,
    ) -> tuple[SymbolCoverage, ...]:
        """Return one coverage for each symbol, ascending, over the sessions of the scope that have begun.

        ``watch`` receives what each symbol is judged by, so that it need not be read again. The baseline includes the
        sessions around the scope and those of a year before it, and the market all symbols of the store, wanted or not;
        an even sample of 100 if it has more. ``imported``: the first and the last date of symbols of which nothing is
        expected before and after.
        """
        spans = self._checkpoints.stored_spans()
        grid = self._grid(scope, min((first for first, _ in spans.values()), default=scope.first))
        names = even_sample(sorted({*scope.symbols, *spans}), SYMBOLS_OF_A_MARKET)
        figures, ratios = FigureSurvey(grid), UsualRatios(grid)
        market = self._survey(names, grid, figures, ratios)
        classifier = CoverageClassifier(
            grid, market, scope.session_kind, self._thresholds, ratios.lowest(), figures.market()
        )
        premature = self._checkpoints.premature(self._clock.now().plus(CLOCKS_DIFFER))
        run = _Run(scope, classifier, spans, figures, premature, self._takes_days_alone(), imported, watch)
        of_days = self._of_days_alone(scope) if run.takes_days_alone else frozenset()
        found = {
            symbol: self._of_days(symbol, grid.cut(grid.within(scope.first, scope.last)), run)
            if symbol in of_days
            else self._assess(symbol, run)
            for symbol in scope.symbols
        }
        for symbol, copied in self._copied(figures).items():
            if symbol in found:  # only now the bars of all symbols are known
                found[symbol] = self._assess(symbol, run, copied)
        return tuple(found.values())

    def suspect(self, scope: IngestionScope) -> frozenset[SymbolDay]:
        """Return the suspect symbol-days that another request may settle."""
        return frozenset(
            day.symbol_day
            for coverage in self.assess(scope)
            for day in coverage.days()
            if day.verdict is Verdict.SUSPECT and day.finding.suspicion and day.finding.suspicion.asking_helps
        )

    def disagreeing(self, scope: IngestionScope) -> frozenset[SymbolDay]:
        """Return the symbol-days that do not agree with their official day, those included that a second answer
        confirmed: a provider may add the bars some days later.
        """
        return frozenset(
            day.symbol_day
            for coverage in self.assess(scope)
            for day in coverage.days()
            if day.verdict in (Verdict.SUSPECT, Verdict.SHORT) and day.evidence is Evidence.OFFICIAL
        )

    def _grid(self, scope: IngestionScope, earliest: TradingDate) -> SessionGrid:
        """Return the sessions of the scope and its neighbours that have begun, as far as the calendar reaches.

        A loss may have lasted for longer than the neighbours reach: so the sessions of a year before belong to them, if
        bars are stored since then.
        """
        now, days = self._clock.now(), self._thresholds.neighbours * DAYS_A_SESSION
        past = min(max(earliest, scope.first.plus_days(-DAYS_BEFORE)), scope.first.plus_days(-days))
        before = self._calendar.reaching(past, scope.first.plus_days(-1))
        after = self._calendar.reaching(scope.last.plus_days(1), scope.last.plus_days(days))
        sessions = [*before, *self._calendar.sessions(scope.first, scope.last), *after]
        asked = (self._finality.ask(session, scope.session_kind, now) for session in sessions)
        return SessionGrid(
            tuple(grid_session(item.session, item.final, self._halts) for item in asked if item is not None)
        )

    def _survey(
        self, symbols: Iterable[Symbol], grid: SessionGrid, figures: FigureSurvey, ratios: UsualRatios
    ) -> tuple[MarketSession, ...]:
        survey, listed = MarketSurvey(grid, self._thresholds), list(symbols)
        compared = frozenset(even_sample(listed, SYMBOLS_COMPARED))
        for symbol in listed if grid.dates else ():
            records = self._checkpoints.between(symbol, grid.dates[0], grid.dates[-1])
            days = SymbolDays.of(symbol, grid, records, {})
            profiles = days.profiles(grid)
            survey.add(profiles, days.silent())
            if symbol in compared:
                ratios.add(days.figures(profiles), self._official_days(symbol, grid))
            figures.add(symbol, FigureSeries.of(grid, days))
        return survey.sessions()

    def _of_days_alone(self, scope: IngestionScope) -> frozenset[Symbol]:
        return frozenset(scope.symbols) - self._checkpoints.requested_spans().keys()

    def _of_days(self, symbol: Symbol, grid: SessionGrid, run: _Run) -> SymbolCoverage:
        official = self._official_days(symbol, grid)
        run.watch(SymbolDays.of(symbol, grid, {}, {}, official=official), grid)
        return daily_coverage(symbol, grid, official, run.imported.get(symbol))

    def _official_days(self, symbol: Symbol, grid: SessionGrid) -> Mapping[TradingDate, OfficialDay | None]:
        return self._official.between(symbol, grid.dates[0], grid.dates[-1]) if self._official and grid.dates else {}

    def _copied(self, figures: FigureSurvey) -> Copies:
        """Return the sessions with another symbol's bars, without those of the symbol that the bars fit better."""
        grid, copies = figures.grid, figures.copies()
        series = dict[Symbol, FigureSeries]()
        for symbol in copies:
            records = self._checkpoints.between(symbol, grid.dates[0], grid.dates[-1])
            series[symbol] = FigureSeries.of(grid, SymbolDays.of(symbol, grid, records, {}))
        return {
            symbol: {
                position: other
                for position, other in places.items()
                if series[symbol].misfit(position) >= MUCH_BETTER * series[other].misfit(position)
            }
            for symbol, places in copies.items()
        }

    def _assess(self, symbol: Symbol, run: _Run, copied: Mapping[int, Symbol] | None = None) -> SymbolCoverage:
        scope, grid = run.scope, run.classifier.grid
        first, last = min((scope.first, *grid.dates[:1])), max((scope.last, *grid.dates[-1:]))
        checked, conditions = self._examined(symbol, first, last)
        checked = _without_premature(symbol, checked, run.premature)
        official = self._official_days(symbol, grid)
        days = SymbolDays.of(symbol, grid, checked, conditions, run.spans.get(symbol), official)
        run.figures.remember(symbol, FigureSeries.of(grid, days))
        stale = self._stale(symbol, scope)
        unrecorded = conditions.keys() - frozenset(grid.dates) if conditions else ()
        strays = [date for date in unrecorded if scope.first <= date <= scope.last]
        part = grid.within(scope.first, scope.last)
        findings = run.classifier.classify(days, stale, copied, part)[part]
        findings = suspect_if_dated_ahead(findings, days.records[part], self._clock.now().plus(CLOCKS_DIFFER))
        wanted, sessions = days.cut(part), grid.cut(part)
        run.watch(wanted, sessions)
        if run.takes_days_alone:
            findings = with_days_alone(findings, grid.dates[part], official)
        findings = within_the_import(findings, grid.dates[part], run.imported.get(symbol))
        return SymbolCoverage.of(wanted, sessions, findings, strays)

    def _examined(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> tuple[Checked, Conditions]:
        """Examine the files of a symbol. Those of a month that cannot be read have a condition of their own.

        So a folder that cannot be read costs the verdicts on its own days, and not those on the whole store.
        """
        try:
            return examine(symbol, first, last, self._checkpoints, self._inventory)
        except StorageError:
            checked = self._checkpoints.between(symbol, first, last)
        found, conditions = dict[TradingDate, IngestionCheckpoint](), dict[TradingDate, VersionCondition]()
        for _, days in groupby(checked, key=lambda date: (date.day.year, date.day.month)):
            dates = list(days)
            try:
                known, differing = examine(symbol, dates[0], dates[-1], self._checkpoints, self._inventory)
            except StorageError:
                known = {date: checked[date] for date in dates}
                differing = {date: VersionCondition.UNREADABLE for date in dates if checked[date].version is not None}
            found.update(known)
            conditions.update(differing)
        return found, conditions

    def _stale(self, symbol: Symbol, scope: IngestionScope) -> Mapping[TradingDate, tuple[str, ...]]:
        """Return none if a folder cannot be read: its days, or the aggregates in it, are reported by themselves."""
        try:
            return self._inventory.stale_aggregates(symbol, scope.first, scope.last)
        except StorageError:
            return {}


def _without_premature(symbol: Symbol, checked: Checked, premature: Mapping[SymbolDay, Timestamp]) -> Checked:
    """Return the checkpoints with those failed that a clock recorded which ran ahead."""
    if not premature:
        return checked
    return {
        date: known
        if (recorded := premature.get(SymbolDay(symbol, date))) is None
        else evolve(known, outcome=Outcome.FAILED, error=premature_reason(recorded))
        for date, known in checked.items()
    }
