from __future__ import annotations

import math
import re
from enum import Enum

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison

NEAR = 0.005
LARGEST_DENOMINATOR = 4
SMALLEST_SPLIT = 1.2
"""A 6-for-5 split; a constant ratio closer to one is what dividends make."""
SMALLEST_ADJUSTMENT = 5e-4


class RestatementKind(Enum):
    """What a provider seems to have done to a symbol-day since it was stored."""

    CORRECTION = "correction"
    """Single bars came, went or changed."""
    SPLIT = "split"
    """All prices changed by one ratio of small whole numbers."""
    DIVIDEND = "dividend"
    """All prices changed by one ratio close to one."""

    def __str__(self) -> str:
        return self.value


@frozen
class Restatement:
    """``comparison`` differs; ``ratio`` is new price over old, None for a correction."""

    comparison: DayComparison
    kind: RestatementKind
    ratio: float | None = None

    @property
    def is_adjustment(self) -> bool:
        return self.kind is not RestatementKind.CORRECTION

    @classmethod
    def of(cls, comparison: DayComparison) -> Restatement:
        ratio = comparison.price_ratio
        if ratio is None or abs(ratio - 1) < SMALLEST_ADJUSTMENT:
            return cls(comparison, RestatementKind.CORRECTION)
        return cls(comparison, RestatementKind.SPLIT if is_split(ratio) else RestatementKind.DIVIDEND, ratio)


def is_split(ratio: float) -> bool:
    """Whether it is near p/q of whole numbers with a small q, or the other way round."""
    times = max(ratio, 1 / ratio)
    if times < SMALLEST_SPLIT:
        return False
    return any(
        math.isclose(times, round(times * below) / below, rel_tol=NEAR) for below in range(1, LARGEST_DENOMINATOR + 1)
    )


GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


@frozen
class SampleShare:
    """A part of the sessions, more than none and at most all. Raises ``ConfigurationError``."""

    share: float = field()

    @share.validator
    def _a_part(self, _: object, share: float) -> None:
        if not 0 < share <= 1:
            raise ConfigurationError(f"sample: {share:.0%} is no part of the sessions; give more than 0% up to 100%")

    @classmethod
    def of(cls, value: str | float) -> SampleShare:
        """A number from 0 to 1, or text such as "2%"."""
        if not isinstance(value, str):
            return cls(value)
        if not (found := _PERCENT.fullmatch(value.strip())):
            raise ConfigurationError(f"sample: {value!r} is not a share such as 2%")
        return cls(float(found[1]) / 100)

    def positions(self, count: int, turn: int) -> list[int]:
        """Which of ``count`` sessions to take, at least one: spread evenly, and others at every ``turn``.

        The fractional parts of the multiples of the golden ratio lie as evenly as any sequence can.
        """
        wanted = min(count, max(1, math.ceil(count * self.share - 1e-9)))
        chosen: set[int] = set()
        step = turn * wanted
        while count and len(chosen) < wanted:
            chosen.add(int(step * GOLDEN_RATIO % 1 * count))
            step += 1
        return sorted(chosen)
