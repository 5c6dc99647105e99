from __future__ import annotations

import math

import numpy as np
import pytest
from attrs import evolve

from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.report_page.measures import DayMeasures
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures, OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import full, grid

GRID = grid("2024-01-02", "2024-01-05")
FIGURES = DayFigures(
    open=100.0,
    high=104.0,
    low=98.0,
    close=101.0,
    volume=900.0,
    early_volume=50.0,
    late_volume=150.0,
    auction_volume=0.0,
)
OFFICIAL = OfficialDay(100.0, 104.0, 98.0, 100.0, 1000.0)
AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")


def measured(*days: SymbolDays) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    found = DayMeasures()
    for each in days:
        found.add(each, GRID)
    return found.columns([AAPL, MSFT], len(GRID))


def test_volume_and_prices_are_measured_against_the_official_day() -> None:
    records = [full(figures=FIGURES), full(figures=FIGURES), full(), None]
    official = {GRID.dates[0]: OFFICIAL, GRID.dates[1]: None, GRID.dates[3]: OFFICIAL}
    found = measured(SymbolDays(AAPL, records, {}, official=official))

    assert found["volume"][0].tolist()[:2] == [1100.0, 1100.0]
    assert np.isnan(found["volume"][0]).tolist() == [False, False, True, True]
    assert found["official_volume"][0, 0] == 1000.0
    assert np.isnan(found["official_volume"][0]).tolist() == [False, True, True, False]
    assert found["difference"][0, 0] == pytest.approx(0.01)
    assert np.isnan(found["difference"][0, 1:]).all()
    assert found["close"][0, 3] == 100.0


def test_volumes_are_exact_to_the_last_share() -> None:
    figures = FIGURES._replace(volume=123_456_789.0, early_volume=0.0, late_volume=0.0)
    official = {GRID.dates[0]: OfficialDay(100.0, 104.0, 98.0, 100.0, 2.0**40 + 1)}
    found = measured(SymbolDays(AAPL, [full(figures=figures), *[None] * 3], {}, official=official))

    assert (found["volume"][0, 0], found["official_volume"][0, 0]) == (123_456_789, 2**40 + 1)
    assert found["close"].dtype == np.float32


def test_figures_of_other_hours_are_not_compared() -> None:
    records = [full(figures=FIGURES._replace(closes=540)), *[None] * 3]
    found = measured(SymbolDays(AAPL, records, {}, official={GRID.dates[0]: OFFICIAL}))

    assert math.isnan(found["difference"][0, 0])
    assert found["volume"][0, 0] == 1100.0


def test_a_symbol_without_measures_is_unknown_and_later_ones_replace_earlier_ones() -> None:
    days = SymbolDays(AAPL, [full(figures=FIGURES), *[None] * 3], {})
    found = measured(days, evolve(days, records=[None] * 4))

    assert np.isnan(found["volume"]).all()
    assert found["volume"].shape == (2, 4)
