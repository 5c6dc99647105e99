"""How much a symbol trades in a session, and which sessions are far below its level.

The *level* of a session is the natural logarithm of the trades a minute that would leave as many minutes without a bar.
Days differ by about the same step on this scale, whether a symbol has 20 bars a day or 380; so one spread fits both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from itertools import accumulate
from operator import and_

from attrs import frozen

SMALLEST_SPREAD = 0.2
"""Of the levels of a symbol, below its median: the ordinary difference between two days."""
SPREADS = 4.0
SMALLEST_DROP = 1.2
"""In levels: trade that is less than a third of that of a quiet session."""
SMALLEST_LASTING_DROP = 1.4
DROP_OF_A_THIN_SYMBOL = 2.0
"""A seventh. A symbol that trades in less than a quarter of the minutes often has quiet weeks."""
LIQUID = math.log(math.log(4.0))
DENSE = math.log(math.log(20.0))
"""The level of a symbol that trades in 95 % of the minutes."""
THIN = math.log(math.log(4 / 3))
"""The level of a symbol that trades in every fourth minute."""
SESSIONS_BEFORE, FEWEST_BEFORE = 20, 5
LASTING_SESSIONS = 3
FEWEST_BARS = 30
KNOWN_LEVEL = 0.1
"""The share of the earlier sessions with so few bars that shows a level to be known."""
BLOCK = 5
"""Sessions after a change that are compared with those before."""
SURE_SESSIONS, FEWEST_SURE_SESSIONS = 6, 4
"""On either side of a session, and in all."""
FEWEST_SURE_MINUTES, SURE_SHARE = 80, 0.25
EVEN = 0.75
"""The share of the sure minutes that is lost, of that of all bars: the busiest minutes are as hard hit."""


@lru_cache(1 << 12)
def level(bars: int, length: int) -> float:
    """Return the level of a session of ``length`` minutes, ``bars`` of which have a bar."""
    return math.log(-math.log1p(-(bars + 0.25) / (length + 0.5)))


def bars_at(value: float, length: int) -> float:
    """Return how many bars a session of that level has."""
    return -math.expm1(-math.exp(value)) * length


@frozen
class Usual:
    """What is usual for a symbol: four of five sessions have a level above ``quiet``."""

    quiet: float
    spread: float

    @classmethod
    def of(cls, levels: Sequence[float]) -> Usual:
        ordered = sorted(levels)
        quiet, median = ordered[len(ordered) // 5], ordered[len(ordered) // 2]
        return cls(quiet, max(SMALLEST_SPREAD, median - quiet))

    @property
    def lowest(self) -> float:
        """The level below which a session is not explained by quiet days."""
        return self.quiet - max(self.smallest_drop, SPREADS * self.spread)

    @property
    def smallest_drop(self) -> float:
        return SMALLEST_DROP if self.quiet > THIN else DROP_OF_A_THIN_SYMBOL


@frozen
class LastingChange:
    """From one session to the next, and for at least three, a symbol has far fewer bars than ever before.

    ``since`` is the position of the first such session, ``usual`` the bars of a quiet session before.
    """

    since: int
    usual: float


class Levels:
    """The levels of one symbol's sessions; None if a session has no known minutes."""

    def __init__(self, profiles: Sequence[int | None], lengths: Sequence[int]) -> None:
        """``profiles``: the minutes with a bar; None if they are unknown. ``lengths``: all minutes of each session."""
        self._lengths = lengths
        self.values = [None if p is None else level(p.bit_count(), m) for p, m in zip(profiles, lengths, strict=True)]
        self._sums = list(accumulate((value or 0.0 for value in self.values), initial=0.0))
        self._counts = list(accumulate((value is not None for value in self.values), initial=0))

    def difference(self, position: int, reach: int) -> float | None:
        """Return the level of a session less the mean of the sessions around it; None if one is unknown."""
        value = self.values[position]
        first, end = max(0, position - reach), min(len(self.values), position + reach + 1)
        count = self._counts[end] - self._counts[first] - 1
        if value is None or count < 1:
            return None
        return value - (self._sums[end] - self._sums[first] - value) / count

    def trade(self, position: int, reach: int) -> float:
        """Return the share of its usual trade that a session has seen, at most 1."""
        return math.exp(min(0.0, self.difference(position, reach) or 0.0))

    def usual(self, position: int, reach: int) -> Usual:
        """Return what is usual around a session, without it. Others around it are known if it has a ``difference``."""
        around = range(max(0, position - reach), min(len(self.values), position + reach + 1))
        return Usual.of([value for i in around if i != position and (value := self.values[i]) is not None])

    def is_liquid(self, position: int, reach: int) -> bool:
        """Whether the symbol usually trades in three of four minutes."""
        difference, value = self.difference(position, reach), self.values[position]
        return value is not None and value - (difference or 0.0) >= LIQUID

    def lasting_changes(self, confirmed: Sequence[bool]) -> Iterator[tuple[int, LastingChange]]:
        """Yield the positions of the sessions after a change that lasts, and up to the return to the usual level.

        After some ``confirmed`` sessions of the new level that level is the usual one.
        """
        known = [i for i, value in enumerate(self.values) if value is not None]
        values = [value for value in self.values if value is not None]
        if not _has_a_step(values):
            return
        at = FEWEST_BEFORE
        while at <= len(values) - LASTING_SESSIONS:
            if (usual := self._usual_before(values, at, self._lengths[known[at]])) is None:
                at += 1
                continue
            end = _end_of_change(values, at, usual)
            change = LastingChange(known[at], bars_at(usual.quiet, self._lengths[known[at]]))
            accepted = 0
            for position in known[at:end]:
                if confirmed[position] or accepted < LASTING_SESSIONS:
                    yield position, change
                accepted += confirmed[position]
            at = end

    def _usual_before(self, values: Sequence[float], at: int, length: int) -> Usual | None:
        """Return what was usual before a change that begins there and lasts; None if none does."""
        lasting = values[at : at + BLOCK]
        if values[at] > values[at - 1] - SMALLEST_DROP / 2:
            return None
        usual, highest = Usual.of(values[max(0, at - SESSIONS_BEFORE) : at]), max(lasting)
        if (
            highest >= min(usual.lowest, usual.quiet - SMALLEST_LASTING_DROP)
            or bars_at(usual.quiet, length) < FEWEST_BARS
        ):
            return None
        if values[at - 1] < usual.quiet - SMALLEST_DROP / 2:  # the level sank gradually
            return None
        as_low = sum(value <= highest + SMALLEST_DROP / 4 for value in values[:at])
        return None if as_low >= KNOWN_LEVEL * at else usual


def _has_a_step(values: Sequence[float]) -> bool:
    """Whether sessions differ by more than a lasting change does at least. Nearly always they do not."""
    if len(values) < FEWEST_BEFORE + LASTING_SESSIONS:
        return False
    blocks = [sorted(values[i : i + LASTING_SESSIONS])[-1] for i in range(len(values) - LASTING_SESSIONS + 1)]
    return max(values) - min(blocks) > SMALLEST_LASTING_DROP


def _end_of_change(values: Sequence[float], at: int, usual: Usual) -> int:
    half = usual.quiet - SMALLEST_DROP / 2
    return next((i for i in range(at, len(values)) if values[i] > half), len(values))


def lacks_sure_minutes(position: int, profiles: Sequence[int | None], lengths: Sequence[int], market: float) -> bool:
    """Whether a session lacks a quarter of the minutes in which all sessions around it have a bar.

    A quiet day thins out the quiet minutes; a random loss takes as many bars of the busy ones. ``market``: the level of
    the whole market, less the usual one; on its quiet days more minutes must be missing.
    """
    minutes, length = profiles[position] or 0, lengths[position]
    around = range(max(0, position - SURE_SESSIONS), min(len(profiles), position + SURE_SESSIONS + 1))
    near = [p & (1 << length) - 1 for i in around if i != position and lengths[i] >= length and (p := profiles[i])]
    if len(near) < FEWEST_SURE_SESSIONS:
        return False
    sure = reduce(and_, near)
    share = (sure & ~minutes).bit_count() / max(1, sure.bit_count())
    usual = sum(map(int.bit_count, near)) / len(near)
    is_even = share >= EVEN * (1 - minutes.bit_count() / usual)
    return sure.bit_count() >= FEWEST_SURE_MINUTES and share >= SURE_SHARE - market / 2 and is_even
