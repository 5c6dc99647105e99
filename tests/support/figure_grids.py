"""Short functions that build sessions with figures for tests of coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random

from attrs import evolve, frozen

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.figures.market import FigureSurvey
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.figures.suspicions import FigureSuspicions
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import empty, full

Change = Callable[[DayFigures], DayFigures]


@frozen
class Day:
    """The open, the close, the volume and the number of bars of one session."""

    open: float
    close: float
    volume: float
    bars: int = 390


def walk(seed: object, count: int, price: float = 100.0, volatility: float = 0.02, volume: float = 1e6) -> list[Day]:
    """Return days of a random walk; a third of the movement is overnight."""
    random, days = Random(str(seed)), []
    for _ in range(count):
        opens = price * math.exp(random.gauss(0, volatility / 2))
        price = opens * math.exp(random.gauss(0, volatility))
        days.append(Day(opens, price, volume * math.exp(random.gauss(0, 0.3))))
    return days


def scaled(day: Day, price: float, volume: float = 1.0) -> Day:
    return evolve(day, open=day.open * price, close=day.close * price, volume=day.volume * volume)


def record(day: Day | None, change: Change = lambda figures: figures) -> IngestionCheckpoint:
    if day is None:
        return empty()
    low, high = sorted((day.open, day.close))
    figures = DayFigures(
        opening_peak=330,
        closing_peak=720,
        open=day.open,
        high=high * 1.004,
        low=low * 0.996,
        close=day.close,
        volume=day.volume,
        late_volume=day.volume * 0.1,
        auction_open=day.close,
        auction_volume=day.volume * 0.08,
        opening_volume=day.volume * 0.03,
        odd_lots=0.6,
        values_hash=hash((day.open, day.close, day.volume, day.bars)) % 2**64 or 1,
    )
    return full(rows=day.bars, figures=change(figures))


Symbols = Mapping[str, Sequence[IngestionCheckpoint | None]]


def found(grid: SessionGrid, symbols: Symbols, *, copies: bool = False) -> dict[str, dict[int, Finding]]:
    """Return, by symbol and position, what the figures show; the whole store is the market."""
    survey = FigureSurvey(grid)
    series = {name: FigureSeries.of(grid, SymbolDays(Symbol(name), days, {})) for name, days in symbols.items()}
    for name, item in series.items():
        survey.add(Symbol(name), item)
    copied = survey.copies() if copies else {}
    suspicions = FigureSuspicions(grid, survey.market())
    return {name: suspicions.of(item, copied.get(Symbol(name), {})) for name, item in series.items()}


def suspicions(grid: SessionGrid, symbols: Symbols, *, copies: bool = False) -> dict[str, dict[int, str]]:
    return {
        name: {position: str(finding.suspicion or finding.verdict) for position, finding in findings.items()}
        for name, findings in found(grid, symbols, copies=copies).items()
    }


def of_one(
    grid: SessionGrid, days: Sequence[Day | None], changes: Mapping[int, Change] | None = None
) -> dict[int, str]:
    """Return what is found of one symbol by position."""
    records = [record(day, (changes or {}).get(position, lambda each: each)) for position, day in enumerate(days)]
    return suspicions(grid, {"A": records})["A"]
