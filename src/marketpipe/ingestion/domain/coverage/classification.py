"""Classifying the coverage of one symbol: a finding for each session, with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import evolve, field, frozen

from marketpipe.ingestion.domain.coverage.baseline import (
    Baseline,
    CoverageThresholds,
    Profiles,
    SessionGrid,
    Silence,
    UnusualSilence,
)
from marketpipe.ingestion.domain.coverage.figures.market import MarketFigures
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.figures.suspicions import FigureSuspicions
from marketpipe.ingestion.domain.coverage.market import (
    FEWEST_SYMBOLS_OF_A_MARKET,
    Listing,
    MarketSession,
    SymbolDays,
)
from marketpipe.ingestion.domain.coverage.reconciliation import Reconciler, Reconciliation
from marketpipe.ingestion.domain.coverage.suspicions import MinuteSuspicions
from marketpipe.ingestion.domain.coverage.verdict import Evidence, Finding, Suspicion, Verdict, suspect
from marketpipe.ingestion.domain.coverage.weekdays import WeekdayHabits
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.restatement import FORMER_SCALE
from marketpipe.shared_kernel.domain.ohlcv_bar import LOT, OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, SessionHours, SessionKind, TradingDate

COMPLETE, EMPTY, UNLISTED = (
    tuple(Finding(verdict, evidence=Evidence(value)) for value in range(8))
    for verdict in (Verdict.COMPLETE, Verdict.EMPTY, Verdict.UNLISTED)
)
"""By the value of the evidence. Made once: hundreds of thousands of symbol-days share them."""
BY_OFFICIAL_DAY, BY_NEIGHBOURS, BY_MARKET = (
    evidence.value for evidence in (Evidence.OFFICIAL, Evidence.NEIGHBOURS, Evidence.MARKET)
)
UNKNOWN = object()
"""In the place of an official day that was never requested, or whose file is gone."""
MOST_WITHOUT_OFFICIAL_DAY = 0.1
"""The part of a symbol's sessions with bars that may have no official day."""
WORTH_AN_OFFICIAL_DAY = 10 * LOT
"""Shares in regular hours that cannot all be trades that make no official day."""
REFUTED_BY_VOLUME = (Suspicion.CUT, Suspicion.CHANGED, Suspicion.SPARSE)
"""Suspicions of the minutes alone that cannot be true if the minutes hold the official volume."""
QUIETEST = 0.25
"""Minutes that many symbols lack are quiet ones, which have so small a part of the volume of a quiet silence."""
REFUTED_BY_THE_DAY = (Suspicion.FROZEN, Suspicion.REPEATED, Suspicion.COPIED)
"""Bars that are another day's or another symbol's do not have the volume of the official day."""
EVERYWHERE = slice(None)
NEVER_ASKED = Finding(Verdict.MISSING, "never requested")
PENDING = Finding(Verdict.PENDING)
HABIT_FRACTION = 4.0
"""A silence is a habit of a weekday if its sessions have at most so small a part of the bars that are usual."""
StaleAggregates = Mapping[TradingDate, tuple[str, ...]]


@frozen(slots=False)
class SymbolEvidence:
    """What the sessions of one symbol are judged by."""

    dates: Sequence[TradingDate] = field(repr=False)
    days: SymbolDays
    profiles: Profiles = field(repr=False)
    stale: StaleAggregates
    baseline: Baseline = field(repr=False)
    listing: Listing
    weekdays: WeekdayHabits
    official: Reconciliation = field(repr=False)

    @classmethod
    def of(
        cls,
        grid: SessionGrid,
        market: Sequence[MarketSession],
        days: SymbolDays,
        stale: StaleAggregates,
        thresholds: CoverageThresholds,
        reconciler: Reconciler,
    ) -> SymbolEvidence:
        profiles = days.profiles(grid)
        official = reconciler.reconcile(days.figures(profiles), profiles, days.official)
        baseline = Baseline(grid, profiles, thresholds, symbol=days.symbol)
        listing = Listing.of(days, [item.is_silent for item in market])
        return cls(grid.dates, days, profiles, stale, baseline, listing, WeekdayHabits(grid, days, profiles), official)

    def lacking_part(self, position: int) -> float:
        """Return the part of its usual bars that a session lacks."""
        bars, usual = (self.profiles[position] or 0).bit_count(), self.baseline.usual_bars(position)
        return max(0.0, 1 - bars / usual) if usual else 0.0

    @cached_property
    def has_trusted_official_days(self) -> bool:
        """Whether the provider has official days of the sessions with bars, so that their absence shows something."""
        known = self.days.official
        dated = zip(self.days.records, self.profiles, self.dates, strict=True)
        traded = [date for record, minutes, date in dated if minutes and record and date in known]
        return sum(known[date] is None for date in traded) <= MOST_WITHOUT_OFFICIAL_DAY * len(traded)


@frozen
class CoverageClassifier:
    """Classifies each session of a symbol by the symbol's own baseline and by what the other symbols show.

    ``market`` has an entry for each session of the grid; ``figures`` are what the prices of all symbols show.
    """

    grid: SessionGrid
    market: Sequence[MarketSession]
    kind: SessionKind
    thresholds: CoverageThresholds
    usual_ratio: float | None = None
    """The lowest usual ratio of minutes' volume to official volume among the symbols of the store."""
    figures: MarketFigures = field(factory=MarketFigures)

    def classify(
        self,
        days: SymbolDays,
        stale: StaleAggregates,
        copied: Mapping[int, Symbol] | None = None,
        part: slice = EVERYWHERE,
    ) -> list[Finding]:
        """Return one finding for each session of the grid; those outside ``part`` have no meaning.

        ``copied``: by position, whose bars its bars are.
        """
        least = min(self.thresholds.hole_bars, self.thresholds.stop_bars)
        reconciler = Reconciler(self.grid, self.kind is SessionKind.EXTENDED, self.usual_ratio, least)
        of = SymbolEvidence.of(self.grid, self.market, days, stale, self.thresholds, reconciler)
        proven = self._proven(of)
        findings, wanted = [COMPLETE[0]] * len(self.grid), range(len(self.grid))[part]
        findings[part] = [proven.get(position) or self._finding(position, of) for position in wanted]
        suspicions = MinuteSuspicions(self.grid, self.market, self.thresholds)
        for position, found in suspicions.of(days, of.profiles, of.official.accounted).items():
            is_first_ever = position == of.listing.first and of.listing.before > 0
            is_complete = findings[position].verdict is Verdict.COMPLETE
            if self._is_refuted(found, position, of):
                continue
            if is_complete and not is_first_ever and (record := days.records[position]):
                findings[position] = self._short_if_confirmed(found, record)
        series = FigureSeries.of(self.grid, days)
        for position, found in FigureSuspicions(self.grid, self.figures).of(series, copied or {}).items():
            if found.suspicion in REFUTED_BY_THE_DAY and position in of.official.accounted:
                continue
            if findings[position].verdict is Verdict.COMPLETE and (record := days.records[position]):
                is_suspect = found.verdict is Verdict.SUSPECT
                findings[position] = self._short_if_confirmed(found, record) if is_suspect else found
        return findings

    @cached_property
    def _wanted(self) -> SessionHours:
        return self.kind.hours

    def _proven(self, of: SymbolEvidence) -> dict[int, Finding]:
        """Return the sessions that nothing is wrong with, because the minutes hold the official volume.

        Nearly all are such ones. No silence can hide lost bars in them, and looking for one would take much longer.
        """
        if of.days.conditions or of.stale:
            return {}
        records, market, wanted = of.days.records, self.market, self._wanted
        return {
            i: COMPLETE[self._evidence(i, of)]
            for i in of.official.accounted
            if (record := records[i]) and record.hours is wanted and record.rows and market[i].outage is None
        }

    def _is_refuted(self, found: Finding, position: int, of: SymbolEvidence) -> bool:
        """Whether the minutes hold so much of the official volume that the suspicion cannot be true."""
        if found.suspicion in REFUTED_BY_VOLUME:
            return of.official.refutes(position, of.lacking_part(position))
        lost = self.market[position].lost
        if found.suspicion is not Suspicion.OUTAGE or lost is None:
            return False
        lacking = (lost.minutes & ~(of.profiles[position] or 0)).bit_count()
        return of.official.refutes(position, QUIETEST * lacking / self.grid.sessions[position].length)

    def _finding(self, position: int, of: SymbolEvidence) -> Finding:
        record, date = of.days.records[position], self.grid.dates[position]
        condition = of.days.conditions.get(date) if of.days.conditions else None
        found = finding_on_record(record, condition, self._wanted, is_final=self.grid.sessions[position].final)
        if record is None or found is not None:
            return found or PENDING  # there is a finding on every session without a record
        if record.outcome is Outcome.EMPTY:
            return self._empty(position, record, of)
        if of.stale and date in of.stale:
            return suspect(Suspicion.STALE_AGGREGATE, f"{', '.join(of.stale[date])} was made from other minute bars")
        return self._complete(position, record, of)

    def _complete(self, position: int, record: IngestionCheckpoint, of: SymbolEvidence) -> Finding:
        if not record.rows:
            found = suspect(Suspicion.REJECTED, f"all its {record.rejected:,} bars were rejected")
        elif (differs := self._against_the_official_day(position, record, of)) is not None:
            found = differs
        elif (outage := self._outage(position, of)) is not None:
            found = suspect(Suspicion.OUTAGE, f"no symbol has a bar {self._clock(position, outage)}")
        elif (odd := self._unusual_silence(position, of)) is not None:
            found = self._silent(position, odd)
        else:
            return COMPLETE[self._evidence(position, of)]
        return self._short_if_confirmed(found, record)

    def _against_the_official_day(
        self, position: int, record: IngestionCheckpoint, of: SymbolEvidence
    ) -> Finding | None:
        if (reason := of.official.short.get(position)) is not None:
            return suspect(Suspicion.UNRECONCILED, reason)
        compared = of.official.compared
        if not compared or position in compared:
            return None
        if of.days.official.get(self.grid.dates[position], UNKNOWN) is not None:
            return None
        volume = record.figures.volume if record.figures else 0.0
        if volume < WORTH_AN_OFFICIAL_DAY:
            return None
        return suspect(
            Suspicion.UNOFFICIAL,
            f"the provider has no official day, and the minutes of regular hours have {volume:,.0f} shares: it may be "
            "the official day that is wrong",
        )

    def _unusual_silence(self, position: int, of: SymbolEvidence) -> UnusualSilence | None:
        odd = of.baseline.unusual_silence(position, self.market[position].share)
        if odd is None or of.listing.begins_with(position, odd):
            return None
        if of.weekdays.is_quiet(position, odd.expected / HABIT_FRACTION, odd.silence):
            return None
        usual = of.baseline.usual_bars(position) or odd.expected
        return None if of.official.refutes(position, odd.expected / usual, odd.expected) else odd

    def _outage(self, position: int, of: SymbolEvidence) -> Silence | None:
        outage = self.market[position].outage
        if outage is None or not of.baseline.usually_trades_in(position, outage):
            return None
        return None if of.official.refutes(position, outage.length / self.grid.sessions[position].length) else outage

    def _silent(self, position: int, odd: UnusualSilence) -> Finding:
        span, expected = self._clock(position, odd.silence), f"about {odd.expected:.0f} bars are usual then"
        if odd.silence.at_close:
            return suspect(Suspicion.STOPS_EARLY, f"no bar {span}, the close, {expected}")
        return suspect(Suspicion.HOLES, f"no bar {span}, {expected} and the longest silence is usually {odd.usual} min")

    def _empty(self, position: int, record: IngestionCheckpoint, of: SymbolEvidence) -> Finding:
        market, listing = self.market[position], of.listing
        if (found := self._empty_by_the_official_day(position, of)) is not None:
            return found if found.suspicion is None else self._short_if_confirmed(found, record)
        outside = listing.is_outside(position) and not market.is_silent
        if outside and listing.run_outside(position) >= max(self.thresholds.unlisted_sessions, listing.longest_run + 1):
            if position > listing.last:
                return self._after_the_last(position, record, of)
            return UNLISTED[self._evidence(position, of)]
        usual = (of.baseline.usual_bars(position) or 0.0) * market.share
        usual = min(usual, of.baseline.median_bars(position))
        if usual < self.thresholds.hole_bars or (not market.is_silent and of.weekdays.is_silent(position)):
            return EMPTY[self._evidence(position, of)]
        found = (
            suspect(Suspicion.OUTAGE, f"no bars of any of {market.silent} symbols, {usual:.0f} are usual for this one")
            if market.is_silent
            else _withheld(f"no bars; about {usual:.0f} are usual", market)
        )
        return self._short_if_confirmed(found, record)

    def _after_the_last(self, position: int, record: IngestionCheckpoint, of: SymbolEvidence) -> Finding:
        """Return the finding on an empty session since the last bars: a delisting, or bars that are withheld.

        Both look the same. The provider's answer on another date tells them apart: it is asked for the first sessions.
        """
        last, count = of.listing.last, self.thresholds.unlisted_sessions
        usual = of.baseline.median_bars(last) if last >= 0 else 0.0
        first = [day for day in of.days.records[last + 1 : last + 1 + count] if day is not None]
        if usual < self.thresholds.hole_bars or all(day.days >= self.thresholds.confirmations for day in first):
            return UNLISTED[self._evidence(position, of)]
        detail = (
            f"no bars since {self.grid.dates[last]}; about {usual:.0f} were usual. If it is not listed any more, the "
            "same answer on another date settles it: update requests it"
        )
        return self._short_if_confirmed(_withheld(detail, self.market[position]), record)

    def _empty_by_the_official_day(self, position: int, of: SymbolEvidence) -> Finding | None:
        """Return the finding on a session without bars whose official day is known; None if it shows nothing."""
        day = of.days.official.get(self.grid.dates[position], UNKNOWN)
        if isinstance(day, OfficialDay):
            if day.volume < LOT:
                return EMPTY[BY_OFFICIAL_DAY]
            detail = f"no bars; the official day has a volume of {day.volume:,.0f}"
            return Finding(Verdict.SUSPECT, detail, Suspicion.WITHHELD, Evidence.OFFICIAL)
        if day is UNKNOWN or not of.has_trusted_official_days:
            return None
        return (UNLISTED if of.listing.is_outside(position) else EMPTY)[BY_OFFICIAL_DAY]

    def _short_if_confirmed(self, found: Finding, record: IngestionCheckpoint) -> Finding:
        """A provider that repeats its answer has no more bars; that does not refute the evidence."""
        if record.answers < self.thresholds.confirmations:
            return found
        detail = f"{found.detail}; the provider gave the same answer {record.answers} times"
        return evolve(found, verdict=Verdict.SHORT, detail=detail)

    def _evidence(self, position: int, of: SymbolEvidence) -> int:
        """Return the value of the evidence that there is for a session about which nothing is unusual."""
        market = self.market[position]
        found = BY_NEIGHBOURS if of.baseline.has_neighbours(position) else 0
        if market.traded + market.silent >= FEWEST_SYMBOLS_OF_A_MARKET:
            found += BY_MARKET
        return found + BY_OFFICIAL_DAY if position in of.official.compared else found

    def _clock(self, position: int, silence: Silence) -> str:
        opens = self.grid.sessions[position].opens
        start, end = (
            self.grid.moment(position, opens + minute).moment.astimezone(NEW_YORK)
            for minute in (silence.start, silence.end)
        )
        return f"from {start:%H:%M} to {end:%H:%M} New York time"


def _withheld(detail: str, market: MarketSession) -> Finding:
    """Return the suspicion, with the other symbols as evidence if the store has any."""
    others = market.traded + market.silent - 1
    if not others:
        return Finding(Verdict.SUSPECT, detail, Suspicion.WITHHELD, Evidence.NEIGHBOURS)
    return suspect(Suspicion.WITHHELD, f"{detail}. {market.traded:,} of {others:,} other symbols traded")


_SUSPICION_OF = {
    VersionCondition.ALTERED: Suspicion.ALTERED,
    VersionCondition.UNRECORDED: Suspicion.UNRECORDED,
    VersionCondition.UNREADABLE: Suspicion.UNREADABLE,
}


def finding_on_record(
    record: IngestionCheckpoint | None, condition: VersionCondition | None, wanted: SessionHours, *, is_final: bool
) -> Finding | None:
    """Return what the record of a session alone shows, without a look at its bars.

    None if it is settled for the ``wanted`` hours and its file is the recorded one. ``condition`` is how the file
    differs from its record; None if it does not.
    """
    if record is None or not record.outcome.is_settled:
        return _unsettled(record, condition, is_final)
    if condition is not None:
        return _changed(condition)
    if not record.hours.covers(wanted):
        return Finding(Verdict.PARTIAL, "only the regular session was requested")
    return None


def _unsettled(record: IngestionCheckpoint | None, condition: VersionCondition | None, is_final: bool) -> Finding:
    if record is None:
        if condition is not None:
            return Finding(Verdict.MISSING, f"never requested; {condition}")
        return NEVER_ASKED if is_final else PENDING
    if record.error == FORMER_SCALE:
        return suspect(Suspicion.FORMER_SCALE, f"{FORMER_SCALE}; the next ingestion requests them again")
    if record.outcome is Outcome.FAILED:
        return Finding(Verdict.MISSING, record.error)
    return Finding(Verdict.PARTIAL, f"requested before it was final{'; it is final now' if is_final else ''}")


def _changed(condition: VersionCondition) -> Finding:
    if condition is VersionCondition.GONE:
        return Finding(Verdict.MISSING, str(condition))
    return suspect(_SUSPICION_OF[condition], str(condition))


def suspect_if_dated_ahead(
    findings: Sequence[Finding], records: Sequence[IngestionCheckpoint | None], latest: Timestamp
) -> list[Finding]:
    """Return the findings with those suspect whose bars are recorded as known since a moment after ``latest``."""
    return [
        _known_in_future(known.version.known_since)
        if finding.verdict is Verdict.COMPLETE
        and known is not None
        and known.version is not None
        and known.version.known_since is not None
        and known.version.known_since > latest
        else finding
        for finding, known in zip(findings, records, strict=True)
    ]


def _known_in_future(since: Timestamp) -> Finding:
    detail = f"recorded as known since {since} by a clock that was ahead; until then no as-of reader sees these bars"
    return suspect(Suspicion.CLOCK, detail)
