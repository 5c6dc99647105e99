"""The baseline of a symbol: what the sessions around a session show to be usual, and which silences are unusual.

A silence is a run of minutes without a bar. The minutes of a regular session are a bit mask: bit ``i`` is the minute
``i`` after the open.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate

from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.halts import TradingHalt, halted_minutes
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate, TradingSession

USUAL_LENGTH = 390
MINUTES_OF_THE_AUCTION = 5
CLUSTERING = 2.5
"""So many minutes of a silence are as good as one independent minute."""
LARGEST_DENSITY = 0.98
LOG_CHANCE = -10.5
"""Of a silence by chance, as a natural logarithm: three in 100,000; few sessions have one that is long enough."""


@frozen
class CoverageThresholds:
    """When a symbol-day is suspect; its numbers are the section ``coverage`` of the configuration.

    Times are minutes of the regular session; see docs/adr/0008. A silence inside the session counts from
    ``hole_minutes`` on if at least ``hole_bars`` would be expected in it; one before the close, or of the whole market,
    from ``stop_minutes`` and ``stop_bars`` on; and only if it is more than ``habit_factor`` times as long as the usual
    longest silence. ``neighbours`` sessions on either side are the baseline. ``unlisted_sessions`` silent sessions in a
    row at an end of the range show that a symbol was not listed.
    After ``confirmations`` equal answers in a row a suspect symbol-day is short. ``CoverageConfig`` states the defaults
    and the limits.
    """

    hole_minutes: int
    hole_bars: float
    stop_minutes: int
    stop_bars: float
    habit_factor: float
    neighbours: int
    unlisted_sessions: int
    confirmations: int


@frozen
class GridSession:
    """A session, and its regular hours among the minutes after 04:00. ``final``: no more bars will come.

    ``halts`` are the trading halts of that date.
    """

    session: TradingSession
    final: bool
    opens: int
    length: int
    halts: tuple[TradingHalt, ...] = ()

    def regular(self, minutes: int) -> int:
        """Return a bit for each minute of the regular session; bit 0 is the open's. ``minutes``: bits after 04:00."""
        return minutes >> self.opens & (1 << self.length) - 1

    def halted(self, symbol: Symbol | None = None) -> int:
        """Return a bit for each minute of the regular session without trading of the symbol, or of the market."""
        return halted_minutes(self.halts, symbol) >> self.opens & (1 << self.length) - 1

    def bars_of(self, part: SessionHours, minutes: int) -> int | None:
        """Return the number of bars of the early or the late hours, None on a day with other hours than usual.

        The minutes of the closing auction are left out: they say nothing of the evening.
        """
        if self.length != USUAL_LENGTH:
            return None
        if part is SessionHours.EARLY:
            return (minutes & (1 << self.opens) - 1).bit_count()
        return (minutes >> self.opens + self.length + MINUTES_OF_THE_AUCTION).bit_count()


def grid_session(session: TradingSession, final: bool, halts: Iterable[TradingHalt] = ()) -> GridSession:
    """``halts``: of any dates."""
    moments = session.extended.start, session.opens, session.closes
    start, opens, closes = (moment.epoch_micros // MICROS_PER_MINUTE for moment in moments)
    on_that_date = tuple(halt for halt in halts if halt.trading_date == session.trading_date)
    return GridSession(session, final, opens - start, closes - opens, on_that_date)


@frozen
class SessionGrid:
    """Sessions that have begun, ascending."""

    sessions: tuple[GridSession, ...] = field(repr=lambda sessions: f"<{len(sessions)} sessions>")
    dates: tuple[TradingDate, ...] = field(init=False, repr=False)
    starts: tuple[int, ...] = field(init=False, repr=False)
    """Epoch microseconds of 04:00 of each."""
    with_halts: tuple[int, ...] = field(init=False, repr=False)
    """The positions of the sessions in which trading was halted."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "dates", tuple(item.session.trading_date for item in self.sessions))
        object.__setattr__(self, "starts", tuple(item.session.extended.start.epoch_micros for item in self.sessions))
        object.__setattr__(self, "with_halts", tuple(i for i, item in enumerate(self.sessions) if item.halts))

    def __len__(self) -> int:
        return len(self.sessions)

    def within(self, first: TradingDate, last: TradingDate) -> slice:
        """Return the positions of the sessions between the dates, both inclusive."""
        return slice(bisect_left(self.dates, first), bisect_right(self.dates, last))

    def halted(self, symbol: Symbol | None = None) -> dict[int, int]:
        """Return the halted minutes of the regular sessions that have any, by position."""
        halted = {position: self.sessions[position].halted(symbol) for position in self.with_halts}
        return {position: minutes for position, minutes in halted.items() if minutes}

    def cut(self, part: slice) -> SessionGrid:
        return SessionGrid(self.sessions[part])

    def moment(self, position: int, minute: int) -> Timestamp:
        return Timestamp.from_epoch_micros(self.starts[position] + minute * MICROS_PER_MINUTE)


@frozen
class Silence:
    """``length`` minutes without a bar from minute ``start`` on; ``at_close``: they last until the session's end."""

    start: int
    length: int
    at_close: bool

    @property
    def end(self) -> int:
        return self.start + self.length

    def bars_in(self, minutes: int) -> int:
        """Return how many of those minutes have a bar in another session."""
        return (minutes >> self.start & (1 << self.length) - 1).bit_count()


def longest_silence(minutes: int, length: int) -> int:
    """Return the longest run of minutes without a bar, in a session of ``length`` minutes."""
    starts = ~minutes & (1 << length) - 1
    if not starts:
        return 0
    # Bits are the starts of the runs of at least ``longest`` minutes. It is doubled, then the rest is added in halves.
    halves, longest = list[int](), 1
    while longer := starts & starts >> longest:
        halves.append(starts)
        starts, longest = longer, 2 * longest
    for k, half in reversed(list(enumerate(halves))):
        if longer := starts & half >> longest:
            starts, longest = longer, longest + (1 << k)
    return longest


def silence_at_close(minutes: int, length: int) -> int:
    return length - minutes.bit_length()


def silences(minutes: int, length: int, at_least: int) -> Iterator[Silence]:
    """Yield the silences of at least so many minutes, ascending."""
    silent = ~minutes & (1 << length) - 1
    for run in re.finditer(f"1{{{at_least},}}", f"{silent:b}"[::-1]):
        yield Silence(run.start(), run.end() - run.start(), run.end() == length)


Profiles = Sequence[int | None]
"""For each session of the grid the minutes of its regular hours with a bar; None if they are unknown."""


def with_halts(profiles: Profiles, halted: Mapping[int, int]) -> Profiles:
    """Return the profiles with a bar in each minute in which trading was halted: nothing is missing there."""
    if not halted:
        return profiles
    return [None if p is None else p | halted.get(i, 0) for i, p in enumerate(profiles)]


@frozen
class SilenceLimits:
    """The shortest silence that counts, and the fewest bars that would be expected in it."""

    minutes: int
    bars: float


@frozen
class UnusualSilence:
    """A silence with ``expected`` bars in a usual session, where the usual longest silence has ``usual`` minutes."""

    silence: Silence
    expected: float
    usual: int


class Baseline:
    """What is usual for one symbol, or for the whole market, by the sessions around a session.

    If there are none, the rest of the session itself is the baseline. Minutes in which trading was halted are neither
    expected to have bars nor part of a silence.
    """

    def __init__(
        self,
        grid: SessionGrid,
        profiles: Profiles,
        thresholds: CoverageThresholds,
        inside: SilenceLimits | None = None,
        symbol: Symbol | None = None,
    ) -> None:
        """``inside``: limits of a silence that ends before the close, if not those of the thresholds.

        ``symbol``: whose trading halts count besides those of the whole market.
        """
        self._grid, self._profiles, self._halted = grid, profiles, grid.halted(symbol)
        self._reach, self._factor = thresholds.neighbours, thresholds.habit_factor
        self._inside = inside or SilenceLimits(thresholds.hole_minutes, thresholds.hole_bars)
        self._at_close = SilenceLimits(thresholds.stop_minutes, thresholds.stop_bars)
        lengths = [item.length for item in grid.sessions]
        bars = (0 if p is None else p.bit_count() for p in profiles)
        minutes = (0 if p is None else n for p, n in zip(profiles, lengths, strict=True))
        self._bars, self._minutes = list(accumulate(bars, initial=0)), list(accumulate(minutes, initial=0))

    @cached_property
    def _longest(self) -> list[int]:
        sessions = zip(self._profiles, self._grid.sessions, strict=True)
        longest = [0 if minutes is None else longest_silence(minutes, item.length) for minutes, item in sessions]
        for position, halted in self._halted.items():
            if (minutes := self._profiles[position]) is not None:
                longest[position] = longest_silence(minutes | halted, self._grid.sessions[position].length)
        return longest

    @cached_property
    def _are_all_known(self) -> bool:
        return len(self._profiles) > 1 and None not in self._profiles

    def has_neighbours(self, position: int) -> bool:
        """Whether any session around one has known minutes, so that there is something to compare it with."""
        if self._are_all_known:
            return True
        first, end = max(0, position - self._reach), min(len(self._grid), position + self._reach + 1)
        return self._minutes[end] - self._minutes[first] > self._minutes[position + 1] - self._minutes[position]

    def usual_bars(self, position: int) -> float | None:
        """Return how many bars the regular session should have by those around it; None if there are none."""
        first, end = max(0, position - self._reach), min(len(self._grid), position + self._reach + 1)
        bars = _between(self._bars, first, end) - _between(self._bars, position, position + 1)
        minutes = _between(self._minutes, first, end) - _between(self._minutes, position, position + 1)
        return bars / minutes * self._tradable(position) if minutes else None

    def median_bars(self, position: int) -> float:
        """Return the median bars of the sessions around that have any: a busy day is not usual. 0 if none has."""
        bars = sorted(minutes.bit_count() for minutes in self._of(self._neighbours(position)))
        return float(bars[len(bars) // 2]) if bars else 0.0

    def unusual_silence(self, position: int, share: float = 1.0) -> UnusualSilence | None:
        """Return the longest unusual silence of a session, None if all are usual.

        ``share`` is the part of its usual trade that the whole market has seen in that session.
        """
        minutes, least = self._profiles[position], min(self._inside.minutes, self._at_close.minutes)
        if minutes is None or self._longest[position] < least:
            return None
        minutes, length = minutes | self._halted.get(position, 0), self._grid.sessions[position].length
        is_short_at_close = silence_at_close(minutes, length) < self._at_close.minutes
        if is_short_at_close and self._longest[position] < self._inside.minutes:
            return None
        found = silences(minutes, length, least)
        odd = [odd for silence in found if (odd := self._unusual(position, silence, share))]
        return max(odd, key=lambda item: item.silence.length, default=None)

    def usually_trades_in(self, position: int, silence: Silence) -> bool:
        """Whether a usual session has a bar in those minutes."""
        near = self._neighbours(position)
        return sum(silence.bars_in(minutes) for minutes in self._of(near)) >= max(1, len(near))

    def _tradable(self, position: int) -> int:
        """Return the length of the regular session without the minutes in which trading was halted."""
        return self._grid.sessions[position].length - self._halted.get(position, 0).bit_count()

    def _neighbours(self, position: int) -> list[int]:
        """Return the positions of the sessions around one that have a profile."""
        around = range(max(0, position - self._reach), min(len(self._grid), position + self._reach + 1))
        return [other for other in around if other != position and self._profiles[other] is not None]

    def _unusual(self, position: int, silence: Silence, share: float) -> UnusualSilence | None:
        limits = self._at_close if silence.at_close else self._inside
        if silence.length < limits.minutes:
            return None
        near = [i for i in self._neighbours(position) if self._grid.sessions[i].length >= silence.end]
        odd = self._by_neighbours(near, silence, share) if near else self._by_itself(position, silence)
        if odd is None or silence.length <= self._factor * odd.usual or odd.expected < limits.bars:
            return None
        return odd if not near or self._is_unlikely(position, silence, near) else None

    def _is_unlikely(self, position: int, silence: Silence, near: Sequence[int]) -> bool:
        """Whether a symbol that trades as much as this one does in the rest of the session is hardly ever so silent.

        A quiet session of a thin symbol has long silences too, and trades come in clusters.
        """
        inside = sorted(silence.bars_in(minutes) for minutes in self._of(near))
        as_long = (1 << self._grid.sessions[position].length) - 1
        outside = sum((minutes & as_long).bit_count() for minutes in self._of(near)) - sum(inside)
        own = (self._profiles[position] or 0).bit_count() * len(near) / outside if outside else 1.0
        density = min(LARGEST_DENSITY, inside[len(inside) // 2] / silence.length * min(1.0, own))
        return (1 + (silence.length - 1) / CLUSTERING) * math.log1p(-density) < LOG_CHANCE

    def _by_neighbours(self, near: Sequence[int], silence: Silence, share: float) -> UnusualSilence | None:
        """Return None if the silence is not longer than usual, which nearly all are: no bars are counted then."""
        if silence.at_close:
            lengths = sorted(silence_at_close(self._profiles[i] or 0, self._grid.sessions[i].length) for i in near)
        else:
            lengths = sorted([self._longest[i] for i in near])
        usual = lengths[len(lengths) // 2]
        if silence.length <= self._factor * usual:
            return None
        expected = sum(silence.bars_in(minutes) for minutes in self._of(near)) / len(near) * share
        return UnusualSilence(silence, expected, usual)

    def _by_itself(self, position: int, silence: Silence) -> UnusualSilence:
        """Estimate the usual longest silence as if the rest of the session were evenly traded."""
        bars, length = (self._profiles[position] or 0).bit_count(), self._grid.sessions[position].length
        density = min(bars / max(1, length - silence.length), 0.999)
        usual = math.log(max(2, bars)) / -math.log1p(-density) if bars else length
        return UnusualSilence(silence, density * silence.length, math.ceil(usual))

    def _of(self, positions: Iterable[int]) -> Iterator[int]:
        return (self._profiles[i] or 0 for i in positions)


def _between(running: Sequence[int], first: int, end: int) -> int:
    return running[end] - running[first]
