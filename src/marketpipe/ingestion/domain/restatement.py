"""What a provider changed of stored bars: a correction, a split or a dividend; and which sessions to sample."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate

NEAR = 0.005
LARGEST_DENOMINATOR = 5
SMALLEST_SPLIT = 1.2 * (1 - NEAR)
"""A 6-for-5 split; a constant ratio closer to one is what dividends make."""
STOCK_DIVIDEND, VERY_NEAR, WITH_DIVIDENDS = 21 / 20, 0.001, 0.1
"""A stock dividend of 5 % is the one split below 6:5 that is told from a dividend in cash by its ratio alone."""
SMALLEST_ADJUSTMENT = 5e-4


class RestatementKind(Enum):
    """The likely reason why a provider's bars differ from the stored ones."""

    CORRECTION = "correction"
    """Single bars were added, removed or changed."""
    SPLIT = "split"
    """All prices changed by one ratio of small whole numbers."""
    DIVIDEND = "dividend"
    """All prices changed by one ratio close to one."""

    def __str__(self) -> str:
        return self.value


@frozen
class Restatement:
    """A symbol-day whose bars differ today from the stored ones, and the likely reason.

    ``ratio`` is the new price divided by the old one, None for a correction.
    """

    comparison: DayComparison
    kind: RestatementKind
    ratio: float | None = None

    @property
    def is_adjustment(self) -> bool:
        return self.kind is not RestatementKind.CORRECTION

    @property
    def is_withdrawn(self) -> bool:
        """Whether bars are stored and the provider returns none any more."""
        found = self.comparison
        return found.removed > 0 and not (found.unchanged or found.changed or found.added)

    @classmethod
    def of(cls, comparison: DayComparison) -> Restatement:
        ratio = comparison.price_ratio
        if ratio is None or abs(ratio - 1) < SMALLEST_ADJUSTMENT:
            return cls(comparison, RestatementKind.CORRECTION)
        split = is_split(ratio, comparison.volume_ratio)
        return cls(comparison, RestatementKind.SPLIT if split else RestatementKind.DIVIDEND, ratio)


FORMER_SCALE: Final = "the provider has re-adjusted the prices of this symbol; these bars are in the former scale"
"""The reason why a day is requested again. All days of the symbol have it until they are stored in the new scale."""


@frozen
class SymbolAdjustment:
    """A split or dividend that the provider has applied to the prices of a symbol since they were stored.

    ``restatement`` is the day that shows it. It affects the whole stored history, from ``first`` to ``last``, both
    inclusive, and has to be adopted for all of it.
    """

    restatement: Restatement
    first: TradingDate
    last: TradingDate

    @property
    def symbol(self) -> Symbol:
        return self.restatement.comparison.symbol_day.symbol


def adjustments(
    compared: Iterable[DayComparison], history: Mapping[Symbol, tuple[TradingDate, TradingDate]]
) -> tuple[SymbolAdjustment, ...]:
    """Return at most one adjustment a symbol, by symbol: that of the first day which shows one.

    ``history`` has the first and the last stored date of each symbol.
    """
    found: dict[Symbol, SymbolAdjustment] = {}
    for comparison in compared:
        restatement, symbol = Restatement.of(comparison), comparison.symbol_day.symbol
        if restatement.is_adjustment and symbol not in found:
            found[symbol] = SymbolAdjustment(restatement, *history[symbol])
    return tuple(found[symbol] for symbol in sorted(found))


def readjustments(
    compared: Iterable[DayComparison], history: Mapping[Symbol, tuple[TradingDate, TradingDate]]
) -> Mapping[Symbol, SymbolAdjustment]:
    """Return the symbols whose prices were adjusted again, each with the first compared day that shows it.

    Smaller ratios count than in ``adjustments``: two scales in one store are wrong however near they are.
    """
    found: dict[Symbol, SymbolAdjustment] = {}
    for comparison in compared:
        symbol, scale = comparison.symbol_day.symbol, comparison.scale
        if scale is not None and symbol not in found:
            split = is_split(scale, comparison.volume_ratio)
            kind = RestatementKind.SPLIT if split else RestatementKind.DIVIDEND
            found[symbol] = SymbolAdjustment(Restatement(comparison, kind, scale), *history[symbol])
    return found


def outermost(spans: Mapping[Symbol, tuple[TradingDate, TradingDate]]) -> Mapping[Symbol, frozenset[TradingDate]]:
    """Return the days to compare before a store of adjusted prices grows: the oldest and the newest of each symbol.

    Every adjustment changes the oldest day; the newest day has the largest prices, which show the smallest dividend.
    """
    return {symbol: frozenset(span) for symbol, span in spans.items()}


def adoptable(
    compared: Iterable[DayComparison], renewed: Collection[Symbol] = ()
) -> Mapping[Symbol, frozenset[TradingDate]]:
    """Return the days whose stored bars may be replaced: those that differ, unless the provider returned no bars.

    Of ``renewed`` symbols, whose stored history is requested again anyway, only the days that have no stored bars.
    """
    dates: defaultdict[Symbol, set[TradingDate]] = defaultdict(set)
    for comparison in compared:
        day = comparison.symbol_day
        is_renewed = day.symbol in renewed and comparison.has_stored_bars
        if comparison.differs and not is_renewed and not Restatement.of(comparison).is_withdrawn:
            dates[day.symbol].add(day.trading_date)
    return {symbol: frozenset(days) for symbol, days in dates.items()}


def is_split(ratio: float, volume_ratio: float | None = None) -> bool:
    """Whether prices that changed by this ratio were split: by p/q of whole numbers with a small q, or 21:20.

    ``volume_ratio`` is the change of volumes, if it is one: a split multiplies shares by as much as it divides prices,
    and a dividend leaves them alone. That decides for ratios below 6:5.
    """
    times = max(ratio, 1 / ratio)
    if volume_ratio and not math.isclose(volume_ratio, 1, rel_tol=VERY_NEAR):
        # a dividend of the same days may be in the prices too
        return (ratio < 1) == (volume_ratio > 1) and math.isclose(ratio * volume_ratio, 1, rel_tol=WITH_DIVIDENDS)
    if times < SMALLEST_SPLIT:
        return volume_ratio is None and math.isclose(times, STOCK_DIVIDEND, rel_tol=VERY_NEAR)
    return any(
        math.isclose(times, round(times * below) / below, rel_tol=NEAR) for below in range(1, LARGEST_DENOMINATOR + 1)
    )


GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


@frozen
class SampleShare:
    """A share of the sessions, more than 0 and at most 1. Raises ``ConfigurationError``."""

    share: float = field()

    @share.validator
    def _a_part(self, _: object, share: float) -> None:
        if not 0 < share <= 1:
            raise ConfigurationError(f"sample: must be more than 0% and at most 100%, not {share:.0%}")

    @classmethod
    def of(cls, value: str | float) -> SampleShare:
        """A number from 0 to 1, or text such as "2%"."""
        if not isinstance(value, str):
            return cls(value)
        if not (found := _PERCENT.fullmatch(value.strip())):
            raise ConfigurationError(f"sample: {value!r} is not a share such as 2%")
        return cls(float(found[1]) / 100)

    def positions(self, count: int, turn: int) -> list[int]:
        """Return the positions of the sampled sessions among ``count``, at least one; other ones at every ``turn``.

        The fractional parts of the multiples of the golden ratio are spread as evenly as those of any sequence.
        """
        wanted = min(count, max(1, math.ceil(count * self.share - 1e-9)))
        chosen: set[int] = set()
        step = turn * wanted
        while count and len(chosen) < wanted:
            chosen.add(int(step * GOLDEN_RATIO % 1 * count))
            step += 1
        return sorted(chosen)
