"""Extended hours: whole mornings and evenings without trade, of a symbol that trades in them day after day."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

SMALLEST_SPREAD, SPREADS = 0.1, 3.5
"""Of the logarithm of the bars of an evening, below its median; and how many of them below a quiet one are possible."""
FEWEST_BARS = 8.0
"""Expected in the quietest evening that is possible: none at all then has a chance of one in three thousand."""
BARS_OF_CHANCE = 4
"""So many more must be expected for each bar that there is."""
FEWEST_SESSIONS = 4
SESSIONS_BEFORE = 20


@frozen
class UsualHours:
    """The bars of a symbol's mornings or evenings: four of five have more than ``quiet``, and all ``possible`` ones."""

    quiet: int
    possible: float

    @classmethod
    def of(cls, bars: Sequence[int]) -> UsualHours:
        ordered = sorted(bars)
        quiet, median = ordered[len(ordered) // 5], ordered[len(ordered) // 2]
        spread = max(SMALLEST_SPREAD, math.log((median + 0.5) / (quiet + 0.5)))
        return cls(quiet, quiet * math.exp(-SPREADS * spread))

    def excludes(self, bars: int, trade: float = 1.0) -> bool:
        """Whether no quiet day explains so few bars. ``trade``: the share of its usual trade that the day has seen."""
        return self.possible * trade >= FEWEST_BARS + BARS_OF_CHANCE * bars


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
        if FEWEST_BARS + BARS_OF_CHANCE * count <= most:
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
