"""Sessions whose bars are not their own: frozen, repeated from another day, at other times, or with rounded volumes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from attrs import frozen

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, suspect
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures

FEWEST_BARS = 5
"""Two sessions with fewer may be equal by chance, and a bar without volume may be real."""
CAUTIOUS, CHANCE = 0.7, math.log(1e-6)
"""That part of the usual share of odd lots is believed; a session without any may be so likely."""
REACH = 10
FEWEST_NEIGHBOURS, FEW_NEIGHBOURS, FEWEST_LIVING = 6, 4, 2
"""With figures: of sessions whose times are off by a minute or whose volumes are round, by an hour, and frozen."""
HABIT, HABIT_OF_THE_CLOSE = 0.8, 0.6
SMALL_PART = 0.2
"""Of its usual share of the day's volume, that the minute of an auction has if the auction is elsewhere."""
TINY_PART = 0.1
VERY_SMALL_PART = 0.15
"""Of an opening that is late by a minute, other markets have printed more than that before."""
MUCH, BAD_FIT = 3, 8.0
"""By so much worse the earlier of two equal days has to fit, to be the copy; in units of the usual."""
HABIT_OF_REPEATING = 4
"""If one session of so many repeats another, it is what the symbol does: a rate, or a test's."""
SMALLEST_SHARE = 0.004
"""Of the day's volume, from which on the minute of an auction is one to miss."""
FEWEST_BARS_OF_A_BUSY_DAY, HALF_AN_HOUR = 200, 30
LIKELY_SHIFTS = frozenset((-60, -30, -1, 1, 30, 60))
LASTING_SHIFTS = frozenset((-60, -30, 30, 60))
"""These are suspect even if most sessions around have them: the exchange opens and closes when its calendar says."""


@frozen
class BarPatterns:
    """Finds such sessions of one symbol. ``shifts``: for each session the minutes by which the whole market is off."""

    grid: SessionGrid
    series: FigureSeries
    shifts: Sequence[int]

    def findings(self) -> Iterator[tuple[int, Finding]]:
        seen: dict[int, int] = {}
        repeated = list[tuple[int, int]]()
        without_volume, rounded, elsewhere = list[int](), list[int](), list[int]()
        for position, figures in enumerate(self.series.figures):
            if figures is None:
                continue
            if not figures.total_volume:
                without_volume.append(position)
            elif (before := seen.setdefault(figures.values_hash, position)) != position:
                repeated.append((before, position))
            if figures.in_lots:
                rounded.append(position)
            if figures.closing_peak != figures.closes:
                elsewhere.append(position)
        if HABIT_OF_REPEATING * len(repeated) < len(self.series.figures) - self.series.figures.count(None):
            for before, position in repeated:
                yield from self._repeated(before, position)
        yield from self._frozen(without_volume)
        yield from self._rounded(rounded)
        yield from self._shifted(elsewhere)

    def _repeated(self, before: int, position: int) -> Iterator[tuple[int, Finding]]:
        figures = self.series.at(position)
        if self.series.bars(position) < FEWEST_BARS or self.series.bars(before) != self.series.bars(position):
            return
        if figures.opens != self.series.at(before).opens:
            return
        earlier, later = (self.series.misfit(place, max) for place in (before, position))
        odd = before if earlier > max(MUCH * later, BAD_FIT) else position
        other = self.grid.dates[before if odd == position else position]
        detail = (
            f"all its {self.series.bars(odd):,} bars have the prices and volumes of {other}: one day under two dates"
        )
        yield odd, suspect(Suspicion.REPEATED, detail)

    def _frozen(self, without_volume: Sequence[int]) -> Iterator[tuple[int, Finding]]:
        for position in without_volume:
            bars, near = self.series.bars(position), self._near(position)
            living = sum(each.total_volume > 0 for each in near)
            if bars < FEWEST_BARS or living < FEWEST_LIVING or 2 * living < len(near):
                continue
            figures = self.series.at(position)
            what = f"one price, {figures.close:g}," if figures.high == figures.low else "prices"
            detail = f"{bars:,} bars of {what} and no volume, while {living} of {len(near)} sessions around have some"
            yield position, suspect(Suspicion.FROZEN, detail)

    def _rounded(self, rounded: Sequence[int]) -> Iterator[tuple[int, Finding]]:
        for position in rounded:
            bars, near, before = self.series.bars(position), self._near(position), self._near(position, after=False)
            odd = sum(not each.in_lots for each in near)
            odd_before = sum(not each.in_lots for each in before)
            if bars < FEWEST_BARS or len(near) < FEWEST_NEIGHBOURS or odd < HABIT * len(near) or not odd_before:
                continue
            share = CAUTIOUS * sum(each.odd_lots for each in near) / len(near)
            if 2 * odd_before < len(before) or bars * math.log1p(-share) > CHANCE:
                continue
            detail = (
                f"the volumes of all its {bars:,} bars are multiples of 100, those of {odd} of {len(near)} sessions "
                "around are not: another feed, or a rounded one"
            )
            yield position, suspect(Suspicion.ROUNDED, detail)

    def _shifted(self, elsewhere: Sequence[int]) -> Iterator[tuple[int, Finding]]:
        at_close = [int(each is not None and each.closing_peak == each.closes) for each in self.series.figures]
        known = [int(each is not None) for each in self.series.figures]
        good, all_ = list(accumulate(at_close, initial=0)), list(accumulate(known, initial=0))
        for position in elsewhere:
            first, end = max(0, position - REACH), min(len(known), position + REACH + 1)
            figures, near = self.series.at(position), all_[end] - all_[first] - 1
            by = figures.closing_peak - figures.closes
            fewest = FEWEST_NEIGHBOURS if abs(by) < HALF_AN_HOUR else FEW_NEIGHBOURS
            is_habit = near >= fewest and good[end] - good[first] >= HABIT_OF_THE_CLOSE * near
            found = self._lasting_shift(position) or self._shift(position, figures, by, is_habit)
            if found is not None:
                yield position, suspect(Suspicion.SHIFTED, _times_are_off(found))

    def _shift(self, position: int, figures: DayFigures, by: int, is_habit: bool) -> int | None:
        """Return the minutes by which a session is off, 0 if they are not clear; None if it is not off.

        ``is_habit``: the minute of the closing auction is the usual peak.
        """
        if is_habit and self.shifts and self.shifts[position] == by:
            return by
        at_open = figures.opening_peak - figures.opens
        if not at_open:
            return None
        near = self._near(position)
        at_the_open = figures.opening_volume if self._has_bar(position, figures.opens) else 0.0
        opening = _part(at_the_open, figures, [(each.opening_volume, each) for each in near])
        auction = _part(figures.auction_volume, figures, [(each.auction_volume, each) for each in near])
        if is_habit and by in LIKELY_SHIFTS and (opening <= VERY_SMALL_PART if by > 0 else auction <= SMALL_PART):
            return by
        if len(near) < FEWEST_NEIGHBOURS or self.series.bars(position) < FEWEST_BARS_OF_A_BUSY_DAY:
            return None
        if opening <= VERY_SMALL_PART and auction <= SMALL_PART:
            likely = [minutes for minutes in (by, at_open) if minutes in LIKELY_SHIFTS]
            return likely[0] if likely else 0 if is_habit and max(opening, auction) <= TINY_PART else None
        return None

    def _lasting_shift(self, position: int) -> int:
        """Return the minutes by which a session and most around it are off alike, at both ends; 0 if they are not."""
        near, by = self._near(position), _shift_of_both_ends(self.series.at(position))
        if not by or len(near) < FEW_NEIGHBOURS:
            return 0
        alike = sum(_shift_of_both_ends(each) == by for each in near)
        return by if 2 * alike >= len(near) else 0

    def _has_bar(self, position: int, minute: int) -> bool:
        record = self.series.records[position]
        return record is None or record.minutes is None or bool(record.minutes.bits >> minute & 1)

    def _near(self, position: int, *, after: bool = True) -> list[DayFigures]:
        figures = self.series.figures
        around = figures[max(0, position - REACH) : position], figures[position + 1 : position + 1 + REACH]
        return [each for part in around[: 1 + after] for each in part if each is not None]


def _shift_of_both_ends(figures: DayFigures) -> int:
    """Return the minutes by which the busiest minutes of the open and the close are off alike; 0 if they are not.

    The busiest minute of the close is that of the auction, or the one before it.
    """
    by = figures.opening_peak - figures.opens
    return by if by in LASTING_SHIFTS and figures.closing_peak - figures.closes - by in (-1, 0) else 0


def _times_are_off(by: int) -> str:
    if not by:
        return (
            "its bars seem to be at other times: nearly no volume in the minutes of the open and of the closing auction"
        )
    times = f"{abs(by)} minute{'s' if abs(by) > 1 else ''} too {'late' if by > 0 else 'early'}"
    return f"the busiest minutes, those of the open and of the close, are {times}: its bars seem to be at other times"


def _part(volume: float, figures: DayFigures, near: Sequence[tuple[float, DayFigures]]) -> float:
    """Return a minute's share of the day's volume, over what it usually is; 1 if it usually is next to nothing."""
    shares = sorted(part / each.total_volume for part, each in near if each.total_volume)
    usual = shares[len(shares) // 2] if shares else 0.0
    if usual < SMALLEST_SHARE or not figures.total_volume:
        return 1.0
    return volume / figures.total_volume / usual
