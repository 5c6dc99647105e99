from __future__ import annotations

import math
import re

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError

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
