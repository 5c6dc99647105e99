"""Extended hours: whole mornings and evenings without trade, of a symbol that trades in them day after day."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

SMALLEST_SPREAD = 0.15
"""Of the logarithm of the bars of an evening: its standard deviation from day to day."""
QUANTILE = 0.84
"""Four of five values of a normal distribution are above its mean less so many standard deviations."""
LOG_CHANCE = -11.5
"""Of so few bars by chance, as a natural logarithm: one in 100,000."""
FEWEST_BARS = 11
"""In a usual evening: with fewer, none at all is no surprise."""
LARGEST_PART = 1 / 8
"""Of the usual bars: what is left of an evening that was lost."""
FEWEST_SESSIONS = 4
SESSIONS_BEFORE = 20
DEVIATIONS = tuple(0.5 * step for step in range(13))


@frozen
class UsualHours:
    """The bars of a symbol's mornings or evenings: their ``median``, and their ``spread`` in logarithms."""

    median: int
    spread: float

    @classmethod
    def of(cls, bars: Sequence[int]) -> UsualHours:
        ordered = sorted(bars)
        quiet, median = ordered[len(ordered) // 5], ordered[len(ordered) // 2]
        return cls(median, max(SMALLEST_SPREAD, math.log((median + 0.5) / (quiet + 0.5)) / QUANTILE))

    def excludes(self, bars: int, trade: float = 1.0) -> bool:
        """Whether no quiet day explains so few bars. ``trade``: the share of its usual trade that the day has seen.

        The day may be quiet by any number of standard deviations, and then have few bars by chance: the likelier.
        """
        if self.median * trade < FEWEST_BARS or bars > LARGEST_PART * self.median:
            return False
        means = ((z, self.median * trade * math.exp(-z * self.spread)) for z in DEVIATIONS)
        return max(-z * z / 2 + _log_chance_of_at_most(bars, mean) for z, mean in means) < LOG_CHANCE


def _log_chance_of_at_most(bars: int, mean: float) -> float:
    """Return Chernoff's bound for a Poisson distribution, as a natural logarithm."""
    if bars >= mean:
        return 0.0
    return bars - mean + (bars * math.log(mean / bars) if bars else 0.0)


def lacking_hours(
    bars: Sequence[int | None], trade: Callable[[int], float], reach: int
) -> Iterator[tuple[int, UsualHours]]:
    """Yield the positions of the sessions that lack their morning (or evening), with what is usual.

    ``bars`` are those of the mornings (or evenings); None if they are unknown. ``trade`` returns the share of its usual
    trade that a regular session has seen, at most 1. A session is compared with the ``reach`` ones on either side of
    it, and with the 20 before that lacked nothing: a loss may last.
    """
    known = [i for i, count in enumerate(bars) if count is not None]
    values = [count for count in bars if count is not None]
    if len(values) <= FEWEST_SESSIONS or max(values) < FEWEST_BARS:
        return
    most, sound = max(values), list[int]()
    for at, count in enumerate(values):
        if count <= LARGEST_PART * most:
            near = values[max(0, at - reach) : at] + values[at + 1 : at + 1 + reach]
            usual = _excluding(count, near, sound[-SESSIONS_BEFORE:])
            if usual is not None and usual.excludes(count, trade(known[at])):
                yield known[at], usual
                continue
        sound.append(count)


def _excluding(count: int, *compared: Sequence[int]) -> UsualHours | None:
    """Return the first usual hours that exclude so few bars, by one of the groups of sessions compared."""
    usual = (UsualHours.of(others) for others in compared if len(others) >= FEWEST_SESSIONS)
    return next((item for item in usual if item.excludes(count)), None)
