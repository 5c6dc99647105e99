"""Frozen, repeated, shifted and rounded bars, and honest ones that look a little like them."""

from __future__ import annotations

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.trading_date import TradedMinutes
from tests.support.coverage_grids import grid
from tests.support.figure_grids import Change, Day, found, of_one, record, suspicions, walk

GRID = grid("2024-01-02", "2024-04-30")
COUNT = len(GRID)


def days(seed: object = 1) -> list[Day]:
    return walk(seed, COUNT, 40.0)


def without_volume(figures: DayFigures) -> DayFigures:
    nothing = dict.fromkeys(("volume", "late_volume", "auction_volume", "opening_volume"), 0.0)
    return figures._replace(high=figures.close, low=figures.close, open=figures.close, **nothing)


@pytest.mark.parametrize("frozen", [{30}, {0}, {COUNT - 1}, {20, 21, 22}])
def test_a_day_of_one_price_and_no_volume_is_frozen(frozen: set[int]) -> None:
    found = of_one(GRID, days(), dict.fromkeys(frozen, without_volume))
    assert {p: s for p, s in found.items() if s == "frozen"} == dict.fromkeys(frozen, "frozen")


def test_a_symbol_that_never_has_volume_is_not_frozen() -> None:
    assert of_one(GRID, days(), dict.fromkeys(range(COUNT), without_volume)) == {}


def test_a_single_bar_without_volume_may_be_real() -> None:
    thin = [evolve(day, bars=2) for day in days()]
    assert of_one(GRID, thin, {30: without_volume}) == {}


@pytest.mark.parametrize(("source", "copy"), [(20, 21), (20, 25), (3, COUNT - 1)])
@pytest.mark.parametrize("bars", [390, 12])
def test_a_day_that_repeats_another_days_bars_is_suspect(source: int, copy: int, bars: int) -> None:
    repeated = [evolve(day, bars=bars) for day in days()]
    repeated[copy] = repeated[source]
    assert of_one(GRID, repeated) == {copy: "repeats another day"}


def test_the_day_that_fits_its_neighbours_is_not_the_copy() -> None:
    repeated = walk(2, COUNT, 40.0, volatility=0.03)
    repeated[5] = repeated[60]
    repeated[60] = repeated[5]
    assert abs(repeated[4].close / repeated[60].open - 1) > 0.1
    assert of_one(GRID, repeated) == {5: "repeats another day"}


def test_a_symbol_whose_days_are_all_alike_repeats_none() -> None:
    assert of_one(GRID, [Day(10.0, 10.0, 100.0)] * COUNT) == {}
    assert of_one(GRID, [*days()[:40], *[days()[40]] * (COUNT - 40)]) == {}


def test_thin_days_may_be_equal_by_chance() -> None:
    assert of_one(GRID, [Day(10.0, 10.0, 100.0, 2)] * COUNT) == {}


def shifted(minutes: int, **changes: float) -> Change:
    def change(figures: DayFigures) -> DayFigures:
        moved = {"opening_peak": 330 + minutes, "closing_peak": 720 + minutes, "opening_volume": figures.volume * 0.001}
        return figures._replace(**{**moved, "auction_volume": figures.volume * 0.003, **changes})  # type: ignore[arg-type]

    return change


@pytest.mark.parametrize("minutes", [60, -60, 30, 1, -1])
@pytest.mark.parametrize("position", [0, 30, COUNT - 1])
def test_bars_an_hour_or_a_minute_off_show_it_at_the_open_and_the_close(minutes: int, position: int) -> None:
    assert of_one(GRID, days(), {position: shifted(minutes)}) == {position: "times are off"}


def test_bars_a_minute_late_are_seen_also_if_the_minute_before_the_open_has_none() -> None:
    """The first bar of the regular session is then the auction's, a minute late."""
    records = [record(day) for day in days()]
    late = shifted(1, opening_volume=30_000.0)
    records[30] = evolve(record(days()[30], late), minutes=TradedMinutes.of(sum(1 << m for m in range(331, 721))))
    assert suspicions(GRID, {"A": records})["A"] == {30: "times are off"}


def test_other_times_are_seen_if_neither_auction_is_where_it_should_be() -> None:
    assert of_one(GRID, days(), {30: shifted(7, closing_peak=690)}) == {30: "times are off"}
    assert of_one(GRID, days(), {30: shifted(7, closing_peak=690, auction_volume=30_000.0)}) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"opening_peak": 331, "opening_volume": 9000.0},  # the opening auction came a minute late
        {"closing_peak": 719},  # the last minute was busier than the auction
        {"closing_peak": 721, "auction_volume": 900.0},  # the closing auction came a minute late
        {"opening_peak": 390, "opening_volume": 900.0},  # halted until 10:30
        {"opening_peak": 331, "closing_peak": 721, "opening_volume": 9000.0},  # both were late
    ],
)
def test_a_late_auction_is_no_shift(changes: dict[str, float]) -> None:
    assert of_one(GRID, days(), {30: lambda figures: figures._replace(**changes)}) == {}  # type: ignore[arg-type]


def test_a_symbol_without_auctions_has_no_habit_to_break() -> None:
    scattered = {p: (lambda figures, p=p: shifted((37 * p) % 50 - 25)(figures)) for p in range(COUNT)}
    assert of_one(GRID, days(), scattered | {30: shifted(60)}) == {}


@pytest.mark.parametrize(("minutes", "peak"), [(60, 0), (60, -1), (-60, 0), (30, 0)])
@pytest.mark.parametrize("since", [0, 20])
def test_times_that_are_off_for_good_are_no_habit(minutes: int, peak: int, since: int) -> None:
    """The busiest minute of the close is the auction's, or the last of the regular session."""
    later = dict.fromkeys(range(since, COUNT), shifted(minutes, closing_peak=720 + minutes + peak))
    assert of_one(GRID, days(), later) == dict.fromkeys(later, "times are off")


@pytest.mark.parametrize("changes", [{"opening_peak": 390}, {"closing_peak": 780}, {"opening_peak": 331}])
def test_one_odd_end_of_all_sessions_is_a_habit(changes: dict[str, int]) -> None:
    """Such as oil funds, which are busiest when the inventories are published."""
    assert of_one(GRID, days(), dict.fromkeys(range(COUNT), lambda figures: figures._replace(**changes))) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("minutes", [1, 5, -60])
def test_times_that_are_off_in_the_whole_market_are_seen_though_auctions_may_be_late(minutes: int) -> None:
    late = {"opening_peak": 330 + minutes, "closing_peak": 720 + minutes}
    market = {
        f"S{n}": [
            record(day, (lambda f: f._replace(**late)) if position == 30 else (lambda f: f))
            for position, day in enumerate(days(n))
        ]
        for n in range(6)
    }
    assert suspicions(GRID, market) == {name: {30: "times are off"} for name in market}


def in_lots(figures: DayFigures) -> DayFigures:
    return figures._replace(in_lots=True, odd_lots=0.0)


@pytest.mark.parametrize("rounded", [{30}, {COUNT - 1}, {40, 41, 42}])
def test_a_day_of_whole_lots_among_others_is_suspect(rounded: set[int]) -> None:
    assert of_one(GRID, days(), dict.fromkeys(rounded, in_lots)) == dict.fromkeys(rounded, "rounded volumes")


def test_whole_lots_may_be_the_habit_of_a_store_or_of_former_years() -> None:
    assert of_one(GRID, days(), dict.fromkeys(range(COUNT), in_lots)) == {}
    assert of_one(GRID, days(), dict.fromkeys(range(40), in_lots)) == {}  # odd lots are reported since 2013-12-09
    assert of_one(GRID, days(), {0: in_lots}) == {}


@pytest.mark.parametrize(("bars", "odd_lots"), [(9, 0.6), (40, 0.2), (20, 0.4), (150, 0.05)])
def test_bars_may_all_be_whole_lots_by_chance(bars: int, odd_lots: float) -> None:
    thin = [evolve(day, bars=bars) for day in days()]
    usual = {p: (lambda figures: figures._replace(odd_lots=odd_lots)) for p in range(COUNT)}
    assert of_one(GRID, thin, usual | {30: in_lots}) == {}


@pytest.mark.parametrize(("bars", "odd_lots"), [(30, 0.6), (120, 0.2), (390, 0.06), (8, 1.0)])
def test_more_bars_than_that_are_not_all_whole_lots_by_chance(bars: int, odd_lots: float) -> None:
    usual = {p: (lambda figures: figures._replace(odd_lots=odd_lots)) for p in range(COUNT)}
    assert of_one(GRID, [evolve(day, bars=bars + 20) for day in days()], usual | {30: in_lots}) == {
        30: "rounded volumes"
    }


@pytest.mark.parametrize(("opens", "bars"), [(300, 390), (330, 389), (330, 4)])
def test_days_with_the_same_values_repeat_nothing_if_they_open_otherwise_or_have_other_or_few_bars(
    opens: int, bars: int
) -> None:
    records = [record(day) for day in days()]
    same = records[20].figures
    assert same is not None
    records[20] = evolve(records[20], rows=4 if bars == 4 else 390)
    records[25] = evolve(records[25], rows=bars, figures=same._replace(opens=opens))

    assert 25 not in suspicions(GRID, {"A": records})["A"]


def test_a_copy_without_a_bar_in_regular_hours_is_the_later_day() -> None:
    outside = {"open": 0.0, "high": 0.0, "low": 0.0, "close": 0.0, "volume": 0.0, "early_volume": 1e5, "values_hash": 7}
    found = of_one(GRID, days(), dict.fromkeys((20, 25), lambda figures: figures._replace(**outside)))

    assert found[25] == "repeats another day"
    assert 20 not in found


def late_peaks(opening: int, closing: int) -> Change:
    """Return a day whose busiest minutes are elsewhere, with hardly any volume in those of the auctions."""

    def change(figures: DayFigures) -> DayFigures:
        quiet = {"opening_volume": figures.volume * 1e-5, "auction_volume": figures.volume * 1e-5}
        return figures._replace(opening_peak=330 + opening, closing_peak=720 + closing, **quiet)

    return change


@pytest.mark.parametrize(
    ("opening", "closing", "said"),
    [(7, 60, "60 minutes too late"), (30, 9, "30 minutes too late"), (7, 9, "nearly no volume")],
)
def test_a_busy_day_without_volume_at_both_auctions_is_shifted_by_what_is_likely(
    opening: int, closing: int, said: str
) -> None:
    records = [record(day) for day in days()]
    usual = records[30].figures
    assert usual is not None
    records[30] = evolve(records[30], figures=late_peaks(opening, closing)(usual))

    finding = found(GRID, {"A": records})["A"][30]

    assert said in str(finding.detail)
