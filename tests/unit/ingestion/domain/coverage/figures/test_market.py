"""The bars of two symbols on one day."""

from __future__ import annotations

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.coverage.figures.market import FigureSurvey
from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import grid
from tests.support.figure_grids import Day, record, suspicions, walk

GRID = grid("2024-01-02", "2024-03-28")
COUNT = len(GRID)


def market(**symbols: list[Day]) -> dict[str, dict[int, str]]:
    return suspicions(GRID, {name: list(map(record, days)) for name, days in symbols.items()}, copies=True)


@pytest.mark.parametrize("where", [range(20, 21), range(5, 10), range(COUNT - 1, COUNT)])
def test_two_symbols_with_the_same_bars_are_found(where: range) -> None:
    one, other, third = walk(1, COUNT, 40.0), walk(2, COUNT, 45.0), walk(3, COUNT, 50.0)
    for position in where:
        other[position] = one[position]
    expected = dict.fromkeys(where, "bars of another symbol")
    assert market(A=one, B=other, C=third) == {"A": expected, "B": expected, "C": {}}


def test_two_names_of_one_security_are_no_copy() -> None:
    one = walk(1, COUNT, 40.0)
    renamed = [*one[: COUNT - 5], *walk(2, 5, 40.0)]
    assert market(A=one, B=one, C=renamed) == {"A": {}, "B": {}, "C": {}}


def test_names_of_one_security_that_lose_the_same_bars_on_one_day_are_no_copies() -> None:
    whole = walk(1, COUNT, 40.0)
    cut = [*whole[:20], evolve(whole[20], bars=200), *whole[21:]]
    assert market(A=whole, B=cut, C=cut, D=cut) == {"A": {}, "B": {}, "C": {}, "D": {}}


def test_share_classes_and_thin_days_are_no_copies() -> None:
    one = walk(1, COUNT, 40.0)
    other = [evolve(day, open=day.open + 0.01) for day in one]
    thin = [Day(10.0, 10.0, 100.0, 2)] * COUNT
    assert market(A=one, B=other) == {"A": {}, "B": {}}
    assert market(A=thin[:30] + one[30:], B=thin[:30] + other[30:]) == {"A": {}, "B": {}}


def test_the_symbol_that_the_bars_do_not_fit_has_the_greater_misfit() -> None:
    one, other = walk(1, COUNT, 40.0), walk(2, COUNT, 60.0, volume=3e5)
    other[20] = one[20]
    fits = {
        name: FigureSeries.of(GRID, SymbolDays(Symbol(name), [record(day) for day in days], {})).misfit(20)
        for name, days in (("A", one), ("B", other))
    }
    assert fits["B"] > 5 * fits["A"]


def test_symbols_outside_the_sample_are_compared_too() -> None:
    survey, days = FigureSurvey(GRID), [record(day) for day in walk(1, COUNT, 40.0)]
    others = [record(day) for day in walk(2, COUNT, 40.0)]
    for name, records in (("A", days), ("B", [*others[:20], days[20], *others[21:]])):
        survey.remember(Symbol(name), FigureSeries.of(GRID, SymbolDays(Symbol(name), records, {})))
    assert survey.copies() == {Symbol("A"): {20: Symbol("B")}, Symbol("B"): {20: Symbol("A")}}
