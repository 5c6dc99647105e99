"""Sessions at another price level, and moves that are real."""

from __future__ import annotations

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.coverage.figures.series import FigureSeries
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import grid
from tests.support.figure_grids import Day, found, of_one, record, scaled, suspicions, walk

GRID = grid("2024-01-02", "2024-06-28")
COUNT = len(GRID)
LEVEL = "other price level"


def walked(seed: object = 1, price: float = 130.0, **facts: float) -> list[Day]:
    return walk(seed, COUNT, price, **facts)


@pytest.mark.parametrize("price", [0.9, 12.0, 130.0, 3100.0])
@pytest.mark.parametrize(
    ("times", "volume"), [(100, 1), (0.01, 1), (10, 1), (0.1, 10), (1000, 0.01), (0.25, 1), (3.2, 0.2)]
)
@pytest.mark.parametrize(("first", "sessions"), [(40, 1), (7, 2), (90, 5)])
def test_a_level_that_comes_back_was_never_the_symbols(
    price: float, times: float, volume: float, first: int, sessions: int
) -> None:
    days = walked(price, price)
    days[first : first + sessions] = [scaled(day, times, volume) for day in days[first : first + sessions]]
    assert of_one(GRID, days) == dict.fromkeys(range(first, first + sessions), LEVEL)


@pytest.mark.parametrize("last", [100.0, 0.01, 1000.0])
def test_the_newest_session_in_another_scale_is_suspect_at_once(last: float) -> None:
    days = walked()
    days[-1] = scaled(days[-1], last)
    assert of_one(GRID, days) == {COUNT - 1: LEVEL}


@pytest.mark.parametrize("since", [1, 2, 60])
def test_a_scale_that_changes_for_good_is_suspect_once(since: int) -> None:
    days = walked()
    days[since:] = [scaled(day, 100) for day in days[since:]]
    wrong = range(since) if since < 3 else [since]  # of few sessions and many, the few
    assert of_one(GRID, days) == dict.fromkeys(wrong, LEVEL)


@pytest.mark.parametrize(
    ("price", "ratio"),
    [
        (0.1, "10:1"),
        (0.5, "2:1"),
        (1 / 3, "3:1"),
        (0.05, "20:1"),
        (2 / 3, "3:2"),
        (10, "1:10"),
        (30, "1:30"),
        (4, "1:4"),
    ],
)
@pytest.mark.parametrize("since", [30, COUNT - 1])
def test_a_split_in_raw_prices_is_named_and_not_suspected(price: float, ratio: str, since: int) -> None:
    days = walked(volatility=0.01, volume=1e6)
    days[since:] = [scaled(day, price, 1 / price) for day in days[since:]]
    shown = found(GRID, {"A": [record(day) for day in days]})["A"]
    if price == 2 / 3 and since != 30:
        return  # a move of a third may be anything on one day
    assert set(shown) == {since}
    assert shown[since].verdict is Verdict.COMPLETE
    assert f"likely a {ratio} split" in str(shown[since].detail)


@pytest.mark.parametrize("gap", [0.6, 0.7, 1.35, 1.8])
@pytest.mark.parametrize("comes_back", [False, True])
def test_news_are_real_also_if_they_are_forgotten_the_next_day(gap: float, comes_back: bool) -> None:
    """A thin biotech falls or rises by so much overnight, and trades many times its usual volume."""
    days = walked(3, 8.0, volatility=0.05)
    later = 51 if comes_back else COUNT
    days[50:later] = [scaled(day, gap, 12 if number < 2 else 1) for number, day in enumerate(days[50:later])]
    assert of_one(GRID, days) == {}


@pytest.mark.parametrize("gap", [0.18, 4.0])
def test_a_very_large_move_is_explained_by_its_volume_alone(gap: float) -> None:
    quiet, loud = walked(4, 20.0), walked(4, 20.0)
    quiet[50:] = [scaled(day, gap) for day in quiet[50:]]
    loud[50:] = [scaled(day, gap, 20 if number < 3 else 1.2) for number, day in enumerate(loud[50:])]
    assert of_one(GRID, quiet) == {50: LEVEL}
    assert of_one(GRID, loud) == {}


@pytest.mark.parametrize("seed", range(12))
def test_ordinary_days_of_calm_and_wild_symbols_are_not_suspect(seed: int) -> None:
    for volatility in (0.005, 0.02, 0.06, 0.12):
        assert of_one(GRID, walked(seed, volatility=volatility)) == {}


def test_a_symbol_that_always_jumps_is_not_suspect() -> None:
    """A warrant for a cent or three."""
    prices = ([0.01, 0.03, 0.02, 0.01, 0.04, 0.01] * 30)[:COUNT]
    days = [Day(price, price, 5000.0 + number, 8) for number, price in enumerate(prices)]
    assert of_one(GRID, days) == {}


def test_a_day_on_which_the_whole_market_moves_is_no_other_scale() -> None:
    many = {f"S{number}": walked(number) for number in range(8)}
    fallen = {name: [*days[:50], scaled(days[50], 0.4), *days[51:]] for name, days in many.items()}
    assert not any(suspicions(GRID, {name: list(map(record, days)) for name, days in fallen.items()}).values())
    alone = many | {"S0": fallen["S0"]}
    assert suspicions(GRID, {name: list(map(record, days)) for name, days in alone.items()})["S0"] == {50: LEVEL}


def test_the_first_day_of_a_listing_has_nothing_to_compare_with() -> None:
    days = [None] * 30 + [evolve(walked()[30], volume=5e7), *walked()[31:]]
    assert of_one(GRID, days) == {}


@pytest.mark.parametrize(("silent", "level"), [(20, 13.0), (90, 13.0), (30, 0.5), (10, 3.0), (60, 1 / 14)])
def test_another_level_after_weeks_of_silence_asks_for_the_security(silent: int, level: float) -> None:
    """As META: an ETF until January 2022, another company from June on."""
    days: list[Day | None] = [*walked(5, 15.0, volatility=0.01)]
    days[20 + silent :] = [scaled(day, level) for day in days[20 + silent :] if day]
    days[20 : 20 + silent] = [None] * silent
    (finding,) = (shown := found(GRID, {"METV": [record(day) for day in days]})["METV"]).values()
    assert list(shown) == [20 + silent]
    assert str(finding.suspicion) == "another security?"
    assert str(GRID.dates[19]) in str(finding.detail)
    assert str(GRID.dates[20 + silent]) in str(finding.detail)


@pytest.mark.parametrize("silent", [12, 40, 90])
@pytest.mark.parametrize("level", [0.9, 1.0, 1.15, 1.37])
def test_a_symbol_that_resumes_near_its_old_price_is_the_same_one(silent: int, level: float) -> None:
    days: list[Day | None] = [*walked(6, 15.0)]
    near = level * days[19].close / days[20 + silent].open  # type: ignore[union-attr]
    days[20:] = [scaled(day, near) for day in days[20:] if day]
    days[20 : 20 + silent] = [None] * silent
    assert of_one(GRID, days) == {}


def test_sessions_that_were_never_requested_are_no_silence() -> None:
    records = [record(day) for day in walked(5, 15.0)[:20]]
    records += [None] * 60 + [record(scaled(day, 2.0)) for day in walked(5, 15.0)[80:]]
    assert suspicions(GRID, {"A": records})["A"] == {}


@pytest.mark.parametrize(("level", "expected"), [(0.1, {}), (0.04, {60: LEVEL})])
def test_a_new_level_of_a_symbol_without_volume_is_no_split(level: float, expected: dict[int, str]) -> None:
    days = [evolve(day, volume=0.0) for day in walked(volatility=0.01)]
    days[60:] = [scaled(day, level) for day in days[60:]]
    assert of_one(GRID, days) == expected


def test_a_session_without_figures_has_none_to_ask_for() -> None:
    series = FigureSeries.of(GRID, SymbolDays(Symbol("A"), [None] * COUNT, {}))
    with pytest.raises(LookupError, match="session 3 has no figures"):
        series.at(3)
