from __future__ import annotations

import math
from enum import Enum

from attrs import frozen

from marketpipe.shared_kernel.domain.day_comparison import DayComparison

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
