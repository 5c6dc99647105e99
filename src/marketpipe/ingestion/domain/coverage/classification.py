"""Classifying the coverage of one symbol: a finding for each session, with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from marketpipe.ingestion.domain.coverage.baseline import (
    Baseline,
    CoverageThresholds,
    Profiles,
    SessionGrid,
    Silence,
    UnusualSilence,
)
from marketpipe.ingestion.domain.coverage.market import (
    FEWEST_SYMBOLS_OF_A_MARKET,
    Listing,
    MarketSession,
    SymbolDays,
)
from marketpipe.ingestion.domain.coverage.suspicions import MinuteSuspicions
from marketpipe.ingestion.domain.coverage.verdict import Evidence, Finding, Suspicion, Verdict
from marketpipe.ingestion.domain.coverage.weekdays import WeekdayHabits
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, SessionKind, TradingDate

COMPLETE, EMPTY, UNLISTED = (
    tuple(Finding(verdict, evidence=Evidence(value)) for value in range(8))
    for verdict in (Verdict.COMPLETE, Verdict.EMPTY, Verdict.UNLISTED)
)
"""By the value of the evidence. Made once: hundreds of thousands of symbol-days share them."""
BY_NEIGHBOURS, BY_MARKET = Evidence.NEIGHBOURS.value, Evidence.MARKET.value
NEVER_ASKED = Finding(Verdict.MISSING, "never requested")
PENDING = Finding(Verdict.PENDING)
HABIT_FRACTION = 4.0
"""A silence is a habit of a weekday if its sessions have at most so small a part of the bars that are usual."""
StaleAggregates = Mapping[TradingDate, tuple[str, ...]]


@frozen
class SymbolEvidence:
    """What the sessions of one symbol are judged by."""

    days: SymbolDays
    profiles: Profiles = field(repr=False)
    stale: StaleAggregates
    baseline: Baseline = field(repr=False)
    listing: Listing
    weekdays: WeekdayHabits

    @classmethod
    def of(
        cls,
        grid: SessionGrid,
        market: Sequence[MarketSession],
        days: SymbolDays,
        stale: StaleAggregates,
        thresholds: CoverageThresholds,
    ) -> SymbolEvidence:
        profiles = days.profiles(grid)
        baseline = Baseline(grid, profiles, thresholds, symbol=days.symbol)
        listing = Listing.of(days, [item.is_silent for item in market])
        return cls(days, profiles, stale, baseline, listing, WeekdayHabits(grid, days, profiles))


@frozen
class CoverageClassifier:
    """Classifies each session of a symbol by the symbol's own baseline and by what the other symbols show.

    ``market`` has an entry for each session of the grid.
    """

    grid: SessionGrid
    market: Sequence[MarketSession]
    kind: SessionKind
    thresholds: CoverageThresholds

    def classify(self, days: SymbolDays, stale: StaleAggregates) -> list[Finding]:
        """Return one finding for each session of the grid."""
        of = SymbolEvidence.of(self.grid, self.market, days, stale, self.thresholds)
        findings = [self._finding(position, of) for position in range(len(self.grid))]
        suspicions = MinuteSuspicions(self.grid, self.market, self.thresholds)
        for position, found in suspicions.of(days, of.profiles).items():
            is_first_ever = position == of.listing.first and of.listing.before > 0
            is_complete = findings[position].verdict is Verdict.COMPLETE
            if is_complete and not is_first_ever and (record := days.records[position]):
                findings[position] = self._short_if_confirmed(found, record)
        return findings

    def _finding(self, position: int, of: SymbolEvidence) -> Finding:
        record, date = of.days.records[position], self.grid.dates[position]
        condition = of.days.conditions.get(date) if of.days.conditions else None
        if record is None or not record.outcome.is_settled:
            return self._unsettled(position, record, condition)
        if condition is not None:
            return _changed(condition)
        if not record.settled_hours.covers(self.kind.hours):
            return Finding(Verdict.PARTIAL, "only the regular session was requested")
        if record.outcome is Outcome.EMPTY:
            return self._empty(position, record, of)
        if of.stale and date in of.stale:
            return _suspect(Suspicion.STALE_AGGREGATE, f"{', '.join(of.stale[date])} was made from other minute bars")
        return self._complete(position, record, of)

    def _unsettled(
        self, position: int, record: IngestionCheckpoint | None, condition: VersionCondition | None
    ) -> Finding:
        if record is None:
            if condition is not None:
                return Finding(Verdict.MISSING, f"never requested; {condition}")
            return NEVER_ASKED if self.grid.sessions[position].final else PENDING
        if record.outcome is Outcome.FAILED:
            return Finding(Verdict.MISSING, record.error)
        final = self.grid.sessions[position].final
        return Finding(Verdict.PARTIAL, f"requested before it was final{'; it is final now' if final else ''}")

    def _complete(self, position: int, record: IngestionCheckpoint, of: SymbolEvidence) -> Finding:
        if not record.rows:
            found = _suspect(Suspicion.REJECTED, f"all its {record.rejected:,} bars were rejected")
        elif (outage := self.market[position].outage) and of.baseline.usually_trades_in(position, outage):
            found = _suspect(Suspicion.OUTAGE, f"no symbol has a bar {self._clock(position, outage)}")
        elif (odd := self._unusual_silence(position, of)) is not None:
            found = self._silent(position, odd)
        else:
            return COMPLETE[self._evidence(position, of.baseline)]
        return self._short_if_confirmed(found, record)

    def _unusual_silence(self, position: int, of: SymbolEvidence) -> UnusualSilence | None:
        odd = of.baseline.unusual_silence(position, self.market[position].share)
        if odd is None or of.listing.begins_with(position, odd):
            return None
        return None if of.weekdays.is_quiet(position, odd.expected / HABIT_FRACTION, odd.silence) else odd

    def _silent(self, position: int, odd: UnusualSilence) -> Finding:
        span, expected = self._clock(position, odd.silence), f"about {odd.expected:.0f} bars are usual then"
        if odd.silence.at_close:
            return _suspect(Suspicion.STOPS_EARLY, f"no bar {span}, the close, {expected}")
        return _suspect(
            Suspicion.HOLES, f"no bar {span}, {expected} and the longest silence is usually {odd.usual} min"
        )

    def _empty(self, position: int, record: IngestionCheckpoint, of: SymbolEvidence) -> Finding:
        market, listing = self.market[position], of.listing
        outside = listing.is_outside(position) and not market.is_silent
        if outside and listing.run_outside(position) >= max(self.thresholds.unlisted_sessions, listing.longest_run + 1):
            return UNLISTED[self._evidence(position, of.baseline)]
        usual = (of.baseline.usual_bars(position) or 0.0) * market.share
        usual = min(usual, of.baseline.median_bars(position))
        if usual < self.thresholds.hole_bars or (not market.is_silent and of.weekdays.is_silent(position)):
            return EMPTY[self._evidence(position, of.baseline)]
        others = market.traded + market.silent - 1
        found = (
            _suspect(Suspicion.OUTAGE, f"no bars of any of {market.silent} symbols, {usual:.0f} are usual for this one")
            if market.is_silent
            else _suspect(
                Suspicion.WITHHELD,
                f"no bars; about {usual:.0f} are usual. {market.traded:,} of {others:,} other symbols traded",
            )
        )
        return self._short_if_confirmed(found, record)

    def _short_if_confirmed(self, found: Finding, record: IngestionCheckpoint) -> Finding:
        """A provider that repeats its answer has no more bars; that does not refute the evidence."""
        if record.answers < self.thresholds.confirmations:
            return found
        detail = f"{found.detail}; the provider gave the same answer {record.answers} times"
        return evolve(found, verdict=Verdict.SHORT, detail=detail)

    def _evidence(self, position: int, baseline: Baseline) -> int:
        """Return the value of the evidence that there is for a session about which nothing is unusual."""
        market = self.market[position]
        return (BY_NEIGHBOURS if baseline.has_neighbours(position) else 0) + (
            BY_MARKET if market.traded + market.silent >= FEWEST_SYMBOLS_OF_A_MARKET else 0
        )

    def _clock(self, position: int, silence: Silence) -> str:
        opens = self.grid.sessions[position].opens
        start, end = (
            self.grid.moment(position, opens + minute).moment.astimezone(NEW_YORK)
            for minute in (silence.start, silence.end)
        )
        return f"from {start:%H:%M} to {end:%H:%M} New York time"


def _suspect(suspicion: Suspicion, detail: str) -> Finding:
    return Finding(Verdict.SUSPECT, detail, suspicion)


def _changed(condition: VersionCondition) -> Finding:
    if condition is VersionCondition.GONE:
        return Finding(Verdict.MISSING, str(condition))
    unrecorded = condition is VersionCondition.UNRECORDED
    return _suspect(Suspicion.UNRECORDED if unrecorded else Suspicion.ALTERED, str(condition))
