"""Suspicions that the figures of a symbol's sessions raise: its prices, and bars that are not its own."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.figures.market import MarketFigures
from marketpipe.ingestion.domain.coverage.figures.patterns import BarPatterns
from marketpipe.ingestion.domain.coverage.figures.price_levels import PriceLevels
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, suspect
from marketpipe.shared_kernel.domain.symbol import Symbol


@frozen
class FigureSuspicions:
    """Finds the sessions of one symbol whose recorded figures are suspect, or show a likely split."""

    grid: SessionGrid
    market: MarketFigures

    def of(self, series: FigureSeries, copied: Mapping[int, Symbol]) -> dict[int, Finding]:
        """Return the first finding of each such session by its position. ``copied``: the symbols with the same bars."""
        found: dict[int, Finding] = {}
        for position, other in copied.items():
            detail = (
                f"all its {series.bars(position):,} bars are those of {other} on that date: one of the two is wrong"
            )
            found[position] = suspect(Suspicion.COPIED, detail)
        for position, finding in BarPatterns(self.grid, series, self.market.shifts).findings():
            found.setdefault(position, finding)
        for position, finding in PriceLevels(self.grid, series, self.market.gaps).findings():
            found.setdefault(position, finding)
        return found
