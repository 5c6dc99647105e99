"""Classifying the coverage of one symbol: a finding for each session, with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from marketpipe.ingestion.domain.coverage.baseline import (
    Baseline,
    CoverageThresholds,
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
from marketpipe.ingestion.domain.coverage.verdict import Evidence, Finding, Suspicion, Verdict
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
FOUR_OF_FIVE = 0.8
StaleAggregates = Mapping[TradingDate, tuple[str, ...]]


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
        baseline = Baseline(self.grid, days.profiles(self.grid), self.thresholds, symbol=days.symbol)
        listing = Listing.of(days, [session.is_silent for session in self.market])
        return [self._finding(position, days, stale, baseline, listing) for position in range(len(self.grid))]

    def _finding(
        self, position: int, days: SymbolDays, stale: StaleAggregates, baseline: Baseline, listing: Listing
    ) -> Finding:
        record, date = days.records[position], self.grid.dates[position]
        condition = days.conditions.get(date) if days.conditions else None
        if record is None or not record.outcome.is_settled:
            return self._unsettled(position, record, condition)
        if condition is not None:
            return _changed(condition)
        if not record.settled_hours.covers(self.kind.hours):
            return Finding(Verdict.PARTIAL, "only the regular session was requested")
        if record.outcome is Outcome.EMPTY:
            return self._empty(position, record, baseline, listing)
        if stale and date in stale:
            return _suspect(Suspicion.STALE_AGGREGATE, f"{', '.join(stale[date])} was made from other minute bars")
        return self._complete(position, record, baseline, listing)

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

    def _complete(self, position: int, record: IngestionCheckpoint, baseline: Baseline, listing: Listing) -> Finding:
        if not record.rows:
            found = _suspect(Suspicion.REJECTED, f"all its {record.rejected:,} bars were rejected")
        elif (outage := self.market[position].outage) and baseline.usually_trades_in(position, outage):
            found = _suspect(Suspicion.OUTAGE, f"no symbol has a bar {self._clock(position, outage)}")
        elif (odd := baseline.unusual_silence(position, self.market[position].share)) and not listing.begins_with(
            position, odd
        ):
            found = self._silent(position, odd)
        elif sparse := self._sparse(position, record, baseline):
            found = sparse
        else:
            return COMPLETE[self._evidence(position, baseline)]
        return self._short_if_confirmed(found, record)

    def _silent(self, position: int, odd: UnusualSilence) -> Finding:
        span, expected = self._clock(position, odd.silence), f"about {odd.expected:.0f} bars are usual then"
        if odd.silence.at_close:
            return _suspect(Suspicion.STOPS_EARLY, f"no bar {span}, the close, {expected}")
        return _suspect(
            Suspicion.HOLES, f"no bar {span}, {expected} and the longest silence is usually {odd.usual} min"
        )

    def _sparse(self, position: int, record: IngestionCheckpoint, baseline: Baseline) -> Finding | None:
        """Return a finding if bars are missing here and there, though no single silence is long."""
        if record.minutes is None:
            return None
        bars, factor = self.grid.sessions[position].regular(record.minutes).bit_count(), self.thresholds.habit_factor
        if bars * factor * FOUR_OF_FIVE >= (baseline.usual_bars(position) or 0.0):
            return None  # skips a sort: four of five sessions have at least `quiet` bars, so that quiet <= mean / 0.8
        quiet = baseline.quietest_bars(position, self.market[position].share) or 0.0
        if quiet < self.thresholds.hole_bars or bars * factor >= quiet:
            return None
        return _suspect(Suspicion.SPARSE, f"only {bars:,} bars; a quiet session of this symbol has {quiet:.0f}")

    def _empty(self, position: int, record: IngestionCheckpoint, baseline: Baseline, listing: Listing) -> Finding:
        market = self.market[position]
        outside = listing.is_outside(position) and not market.is_silent
        if outside and listing.run_outside(position) >= max(self.thresholds.unlisted_sessions, listing.longest_run + 1):
            return UNLISTED[self._evidence(position, baseline)]
        usual = (baseline.usual_bars(position) or 0.0) * market.share
        if usual < self.thresholds.hole_bars:
            return EMPTY[self._evidence(position, baseline)]
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
