"""Suspicions that a symbol's minutes raise without an official day: by its own long past and by the market."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from attrs import frozen

from marketpipe.ingestion.domain.coverage.baseline import CoverageThresholds, Profiles, SessionGrid, with_halts
from marketpipe.ingestion.domain.coverage.market import MarketSession, SymbolDays
from marketpipe.ingestion.domain.coverage.minutes.cuts import Cut, cuts
from marketpipe.ingestion.domain.coverage.minutes.hours import lacking_hours
from marketpipe.ingestion.domain.coverage.minutes.joint import LostMinutes
from marketpipe.ingestion.domain.coverage.minutes.levels import (
    DENSE,
    FEWEST_BARS,
    THIN,
    Levels,
    bars_at,
    lacks_sure_minutes,
)
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, suspect
from marketpipe.ingestion.domain.coverage.weekdays import WeekdayHabits
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, SessionHours

LOWEST_QUIET_DIFFERENCE = -0.4
"""In levels, against the mean of the sessions around: above it no session is too sparse, which saves a sort."""


@frozen
class MinuteSuspicions:
    """Finds the sessions of one symbol whose recorded minutes are suspect. ``market`` has an entry for each session."""

    grid: SessionGrid
    market: Sequence[MarketSession]
    thresholds: CoverageThresholds

    def of(self, days: SymbolDays, profiles: Profiles, accounted: Collection[int] = ()) -> dict[int, Finding]:
        """Return the first finding of each suspect session by its position; most symbols have none.

        ``accounted``: the sessions whose minutes hold the official volume, so that nothing is cut off.
        """
        lengths = [item.length for item in self.grid.sessions]
        profiles = with_halts(profiles, self.grid.halted(days.symbol))
        found: dict[int, Finding] = {}
        for position, finding in self._all(days, profiles, lengths, _without(profiles, accounted)):
            found.setdefault(position, finding)
        return found

    def _all(
        self, days: SymbolDays, profiles: Profiles, lengths: Sequence[int], unaccounted: Profiles
    ) -> Iterator[tuple[int, Finding]]:
        levels, reach = Levels(profiles, lengths), self.thresholds.neighbours
        yield from self._lost(profiles, levels)
        for position, cut in cuts(unaccounted, lengths).items():
            yield position, suspect(Suspicion.CUT, self._cut(position, cut))
        yield from self._cut_with_the_market(unaccounted, lengths)
        confirmed = [bool(r and r.answers >= self.thresholds.confirmations) for r in days.records]
        for position, change in levels.lasting_changes(confirmed):
            bars = (profiles[position] or 0).bit_count()
            detail = (
                f"only {bars:,} bars; since {self.grid.dates[change.since]} every session has far fewer than the "
                f"{change.usual:.0f} of a quiet session before, from one session to the next"
            )
            yield position, suspect(Suspicion.CHANGED, detail)
        weekdays = WeekdayHabits(self.grid, days, profiles)
        yield from self._sparse(profiles, lengths, levels, weekdays)
        for part, name in ((SessionHours.EARLY, "before the open"), (SessionHours.LATE, "after the close")):
            bars_of_part = days.hours(self.grid, part)
            for position, usual in lacking_hours(bars_of_part, partial(levels.trade, reach=reach), reach):
                detail = f"{bars_of_part[position] or 'no'} bars {name}; {usual.median} are usual"
                yield position, suspect(Suspicion.EXTENDED_HOURS, detail)

    def _lost(self, profiles: Profiles, levels: Levels) -> Iterator[tuple[int, Finding]]:
        for position, session in enumerate(self.market):
            minutes, lost = profiles[position], session.lost
            if lost is None or minutes is None:
                continue
            lacking = lost.minutes & ~minutes
            if not lacking or not levels.is_liquid(position, self.thresholds.neighbours):
                continue
            if 2 * lacking.bit_count() >= lost.minutes.bit_count():
                yield position, suspect(Suspicion.OUTAGE, self._together(position, lacking, lost))

    def _sparse(
        self, profiles: Profiles, lengths: Sequence[int], levels: Levels, weekdays: WeekdayHabits
    ) -> Iterator[tuple[int, Finding]]:
        """Yield the sessions that lack bars here and there, though no single silence may be long."""
        reach = self.thresholds.neighbours
        for position, minutes in enumerate(profiles):
            difference = levels.difference(position, reach)
            if minutes is None or difference is None or difference > LOWEST_QUIET_DIFFERENCE:
                continue
            usual, market = levels.usual(position, reach), self.market[position].level
            quiet = bars_at(usual.quiet + market, lengths[position])
            is_low = (levels.values[position] or 0.0) < usual.lowest + market
            is_counted = quiet >= self.thresholds.hole_bars and (usual.quiet > THIN or quiet >= FEWEST_BARS)
            is_low = is_low and is_counted
            if not is_low and (usual.quiet < DENSE or not lacks_sure_minutes(position, profiles, lengths, market)):
                continue
            bars = minutes.bit_count()
            if not weekdays.is_quiet(position, (bars + quiet) / 2):
                detail = f"only {bars:,} bars; a quiet session of this symbol has {quiet:.0f}"
                yield position, suspect(Suspicion.SPARSE, detail)

    def _cut_with_the_market(self, profiles: Profiles, lengths: Sequence[int]) -> Iterator[tuple[int, Finding]]:
        """Yield the sessions of a thin symbol in which it lacks what all symbols lack, session after session."""
        for position, session in enumerate(self.market):
            if (cut := session.cut) is None or not (minutes := profiles[position]):
                continue
            length = min(cut.end, lengths[position]) - cut.start
            expected = minutes.bit_count() * length / max(1, lengths[position] - length)
            if expected >= self.thresholds.hole_bars and not minutes >> cut.start & (1 << length) - 1:
                span = f"from {self._clock(position, cut.start)} to {self._clock(position, cut.end)} New York time"
                detail = (
                    f"no symbol has a bar {span}, as in {cut.sessions} sessions in a row; about {expected:.0f} of this"
                )
                yield position, suspect(Suspicion.OUTAGE, f"{detail} {expected:.0f} are usual then")

    def _cut(self, position: int, cut: Cut) -> str:
        span = f"from {self._clock(position, cut.start)} to {self._clock(position, cut.end)} New York time"
        return (
            f"no bar {span}, as in {cut.sessions} sessions in a row, though {cut.density:.0%} of the minutes beside "
            "have one: bars are cut off at the same minute every day"
        )

    def _together(self, position: int, lacking: int, lost: LostMinutes) -> str:
        first = (lacking & -lacking).bit_length() - 1
        count = lacking.bit_count()
        return (
            f"no bar in {count} minute{'s' if count > 1 else ''}, the first at {self._clock(position, first)} New York "
            f"time, in which {lost.lacking} of {lost.symbols} liquid symbols have none"
        )

    def _clock(self, position: int, minute: int) -> str:
        session = self.grid.sessions[position]
        moment = self.grid.moment(position, session.opens + min(minute, session.length))
        return f"{moment.moment.astimezone(NEW_YORK):%H:%M}"


def _without(profiles: Profiles, positions: Collection[int]) -> Profiles:
    if not positions:
        return profiles
    return [None if position in positions else minutes for position, minutes in enumerate(profiles)]
