"""Minutes that many liquid symbols lack at once: each alone is nothing, all together they are lost.

The symbols of a session are counted in layers of bits, so that one addition counts all minutes of a session: layer
``k`` has the bit ``2 ** k`` of the count of each minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

CLASSES = (0.02, 0.08, 0.25)
"""The largest share of minutes without a bar that is usual for the symbols of each class; classes are nested."""
FEWEST_SYMBOLS = 2
SLOT = 30
"""Minutes of the day that are compared with each other: a symbol is quieter at noon than at the open."""
LOG_CHANCE = -24.0
"""Of lost minutes by chance, as a natural logarithm, for a whole session."""
COST_OF_A_MINUTE = math.log(390.0)
COST_OF_A_FURTHER_MINUTE = 4.0
"""The chances of several minutes are multiplied, at this cost each: the worst minutes of a session are chosen."""
LEAST_SHARE = 0.5
"""Of the symbols of a class must lack a minute."""
QUIET = ((1.0, 0.0), (3.0, -4.6), (10.0, -11.5), (30.0, -24.0))
"""Common quiet: so many times more empty minutes than usual, in all symbols, and the logarithm of its chance."""
LARGEST_CHANCE = 0.9
SMALLEST_CHANCE = 0.002


@define
class BitCounter:
    """Counts for each bit position how many of the added masks have the bit."""

    layers: list[int] = field(factory=list)
    masks: int = 0

    def add(self, mask: int) -> None:
        self.masks += 1
        for k, layer in enumerate(self.layers):
            if not mask:
                return
            self.layers[k], mask = layer ^ mask, layer & mask
        if mask:
            self.layers.append(mask)

    def total(self, within: int) -> int:
        return sum((layer & within).bit_count() << k for k, layer in enumerate(self.layers))

    def at(self, position: int) -> int:
        return sum((layer >> position & 1) << k for k, layer in enumerate(self.layers))

    def at_least(self, count: int) -> int:
        """Return the mask of the positions that were counted at least so often."""
        if count >> len(self.layers):
            return 0
        above, equal = 0, -1
        for k in reversed(range(len(self.layers))):
            if count >> k & 1:
                equal &= self.layers[k]
            else:
                above |= equal & self.layers[k]
                equal &= ~self.layers[k]
        return above | (equal if count else 0)


@frozen
class LostMinutes:
    """The minutes (a bit mask) that ``lacking`` of ``symbols`` liquid symbols lack in a session."""

    minutes: int
    lacking: int
    symbols: int


def silent_class(usual_silence: float) -> int | None:
    """Return the first class of a symbol by its usual share of minutes without a bar, None for a thin symbol."""
    return next((k for k, most in enumerate(CLASSES) if usual_silence <= most), None)


class JointSilences:
    """Adds up the silent minutes of liquid symbols by session, and finds those that were lost together."""

    def __init__(self, lengths: Sequence[int], reach: int) -> None:
        self._lengths, self._reach = lengths, reach
        self._counters = [tuple(BitCounter() for _ in CLASSES) for _ in lengths]

    def add(self, position: int, minutes: int, usual_bars: float | None) -> None:
        """Count the session of a symbol that usually has so many bars in one of its length."""
        length = self._lengths[position]
        first = None if usual_bars is None else silent_class(1 - usual_bars / length)
        if first is not None:
            silent = ~minutes & (1 << length) - 1
            for counter in self._counters[position][first:]:
                counter.add(silent)

    def lost(self) -> list[LostMinutes | None]:
        """Return for each session the minutes that were lost together; None if there are none."""
        found: list[LostMinutes | None] = [None] * len(self._lengths)
        for k in range(len(CLASSES)):
            shares = [self._usual_shares(position, k) for position in range(len(self._lengths))]
            for position in range(len(self._lengths)):
                lost = self._lost(position, k, shares)
                before = found[position]
                if lost and (before is None or lost.minutes.bit_count() > before.minutes.bit_count()):
                    found[position] = lost
        return found

    def _usual_shares(self, position: int, k: int) -> list[float] | None:
        """Return the share of silent minutes of a session by slot, without minutes that may be lost.

        A minute that one symbol alone lacks is always counted: with two symbols it is half of them.
        """
        counter, length = self._counters[position][k], self._lengths[position]
        if counter.masks < FEWEST_SYMBOLS:
            return None
        together = max(FEWEST_SYMBOLS, math.ceil(max(LEAST_SHARE, 2.5 * CLASSES[k]) * counter.masks))
        sound = (1 << length) - 1 & ~counter.at_least(together)
        shares = []
        for start in range(0, length, SLOT):
            slot = sound & ((1 << SLOT) - 1) << start
            shares.append(counter.total(slot) / max(1, slot.bit_count()) / counter.masks)
        return shares

    def _lost(self, position: int, k: int, shares: Sequence[list[float] | None]) -> LostMinutes | None:
        counter, own = self._counters[position][k], shares[position]
        candidates = 0 if own is None else counter.at_least(math.ceil(LEAST_SHARE * counter.masks))
        if not candidates or own is None:
            return None
        around = range(max(0, position - self._reach), min(len(shares), position + self._reach + 1))
        near = [found for i in around if i != position and (found := shares[i]) is not None]
        minutes = [i for i, digit in enumerate(f"{candidates:b}"[::-1]) if digit == "1"]
        usual = {slot: _usual_share(slot, own, near) for slot in {minute // SLOT for minute in minutes}}
        counted = [(counter.at(minute), usual[minute // SLOT], minute) for minute in minutes]
        chosen = _least_likely(counted, counter.masks)
        if not chosen:
            return None
        bits = sum(1 << minute for _, _, minute in chosen)
        return LostMinutes(bits, min(count for count, _, _ in chosen), counter.masks)


def _usual_share(slot: int, own: Sequence[float], near: Sequence[Sequence[float]]) -> float:
    around = [shares[slot] for shares in near if slot < len(shares)]
    return max(SMALLEST_CHANCE, own[slot], sum(around) / len(around) if around else 0.0)


Counted = tuple[int, float, int]
"""How many symbols lack a minute, their usual share, and the minute."""


def _least_likely(counted: Iterable[Counted], symbols: int) -> list[Counted]:
    """Return the minutes that cannot be silent together by chance, nor by common quiet; none if all of them can.

    The bound is Chernoff's; for symbols with different chances of the same mean it is larger than theirs.
    """
    chosen: list[Counted] = []
    for times, log_chance in QUIET:
        scored = sorted(
            (symbols * -_divergence(one[0] / symbols, min(LARGEST_CHANCE, one[1] * times)), one) for one in counted
        )
        some = [one for score, one in scored if score < -COST_OF_A_FURTHER_MINUTE]
        total = sum(score + COST_OF_A_FURTHER_MINUTE for score, _ in scored[: len(some)])
        if log_chance + total + COST_OF_A_MINUTE - COST_OF_A_FURTHER_MINUTE > LOG_CHANCE:
            return []
        chosen = some
    return chosen


def _divergence(share: float, usual: float) -> float:
    """Return the Kullback-Leibler divergence of a share from a smaller usual one, 0 if it is not larger."""
    if share <= usual:
        return 0.0
    silent = share * math.log(share / usual)
    return silent + ((1 - share) * math.log((1 - share) / (1 - usual)) if share < 1 else 0.0)
