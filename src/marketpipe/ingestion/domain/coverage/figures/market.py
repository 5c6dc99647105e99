"""What the figures of many symbols show together: the market's move, times that are off, and bars of two symbols.

The survey keeps few numbers for each symbol-day: a hash of the bars, and a move if there is one to speak of.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from attrs import define, field, frozen

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.figures.patterns import FEWEST_BARS
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries, median
from marketpipe.shared_kernel.domain.symbol import Symbol

FEWEST_SYMBOLS = 5
SHARE_OF_A_MARKET = 0.6
ALIAS = 0.5
"""Two names with the same bars in more than this part of their common sessions are one security."""
NO_BARS = 0
Copies = Mapping[Symbol, Mapping[int, Symbol]]


@frozen
class MarketFigures:
    """For each session: the logarithm of the market's move before it, and the minutes by which all times are off."""

    gaps: Sequence[float] = ()
    shifts: Sequence[int] = ()


@define
class FigureSurvey:
    """Adds up one symbol after another."""

    grid: SessionGrid
    _gaps: list[array[float]] = field(init=False)
    _shifts: list[Counter[int]] = field(init=False)
    _hashes: dict[Symbol, array[int]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._gaps = [array("f") for _ in self.grid.sessions]
        self._shifts = [Counter() for _ in self.grid.sessions]

    def add(self, symbol: Symbol, series: FigureSeries) -> None:
        """Count a symbol for the moves and times of the market, and keep the hashes of its bars."""
        last_close = 0.0
        peaks = [each is not None and each.closing_peak == each.closes for each in series.figures]
        is_regular = 2 * sum(peaks) > len(peaks) - series.figures.count(None)
        for position, figures in enumerate(series.figures):
            if figures is None:
                continue
            if figures.open > 0:
                if last_close:
                    self._gaps[position].append(math.log(figures.open / last_close))
                last_close = figures.close
            if is_regular and figures.closing_peak >= 0:
                self._shifts[position][figures.closing_peak - figures.closes] += 1
        self.remember(symbol, series)

    def remember(self, symbol: Symbol, series: FigureSeries) -> None:
        """Keep the hashes of the bars of a symbol that is not in the sample of the market."""
        if symbol not in self._hashes:
            hashes = array("Q", [NO_BARS]) * len(series.figures)
            for position, figures in enumerate(series.figures):
                if figures is not None and figures.total_volume and series.bars(position) >= FEWEST_BARS:
                    hashes[position] = figures.values_hash
            self._hashes[symbol] = hashes

    def market(self) -> MarketFigures:
        gaps = [median(found) if len(found) >= FEWEST_SYMBOLS else 0.0 for found in self._gaps]
        return MarketFigures(gaps, [_common(counts) for counts in self._shifts])

    def copies(self) -> Copies:
        """Return, by symbol and position, another symbol with the same bars in that session."""
        symbols, found = list(self._hashes), defaultdict[Symbol, dict[int, Symbol]](dict)
        are_one = cache(self._are_one_security)
        for position, hashes in enumerate(zip(*self._hashes.values(), strict=True)):
            if len(set(hashes)) + max(0, hashes.count(NO_BARS) - 1) == len(hashes):
                continue
            first = dict[int, Symbol]()
            for symbol, value in zip(symbols, hashes, strict=True):
                if value == NO_BARS or (other := first.setdefault(value, symbol)) is symbol:
                    continue
                if not are_one(other, symbol):
                    found[symbol][position], found[other][position] = other, symbol
        return found

    def _are_one_security(self, one: Symbol, other: Symbol) -> bool:
        common = [a == b for a, b in zip(self._hashes[one], self._hashes[other], strict=True) if a and b]
        return sum(common) > ALIAS * len(common)


def _common(counts: Counter[int]) -> int:
    """Return the minutes by which most symbols are off; 0 if they are not."""
    total = sum(counts.values())
    by, count = counts.most_common(1)[0] if counts else (0, 0)
    return by if total >= FEWEST_SYMBOLS and count >= SHARE_OF_A_MARKET * total else 0
