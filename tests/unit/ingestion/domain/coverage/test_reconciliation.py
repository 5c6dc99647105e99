"""Minutes compared with official days: every loss that the official day can show, and honest days that it must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from random import Random

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.coverage.baseline import Profiles
from marketpipe.ingestion.domain.coverage.reconciliation import Reconciler, Reconciliation, UsualRatios
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures, OfficialDay
from tests.support.coverage_grids import REGULAR, grid

GRID = grid("2024-01-02", "2024-03-28")
DAYS = len(GRID)
ODD = 31
FULL = (1 << REGULAR) - 1
SYMBOLS: Mapping[str, tuple[float, float]] = {"BIG": (411.27, 46_587_722.0), "SMALL": (23.4, 88_310.0)}
"""The first price, and the volume of a usual day."""


def figures(price: float, volume: float, **changes: object) -> DayFigures:
    """Return the figures of a good day: 4 % of the volume outside regular hours, 9 % in the closing auction."""
    day = DayFigures(
        opening_peak=330,
        open=price,
        high=price * 1.013,
        low=price * 0.991,
        close=price * 1.0062,
        volume=volume * 0.87,
        early_volume=volume * 0.02,
        late_volume=volume * 0.11,
        auction_open=price * 1.0071,
        auction_high=price * 1.0074,
        auction_low=price * 1.0069,
        auction_volume=volume * 0.09,
        opening_volume=volume * 0.03,
    )
    return day._replace(**changes)


def official(day: DayFigures, ratio: float = 1.0) -> OfficialDay:
    """Return the official day of such figures, of which the minutes hold that part of the volume."""
    volume = day.early_volume + day.volume + day.late_volume
    return OfficialDay(day.open, day.high, day.low, day.auction_open, volume / ratio)


def history(
    symbol: str, seed: int = 1, noise: float = 0.0, ratio: float = 1.0
) -> tuple[list[DayFigures], list[OfficialDay]]:
    """Return days whose ratio of volumes varies by a normal noise."""
    random, (price, volume) = Random(f"{symbol} {seed}"), SYMBOLS[symbol]
    days = []
    for _ in range(DAYS):
        price *= 1 + random.gauss(0, 0.013)
        days.append(figures(price, volume * random.lognormvariate(0, 0.3)))
    return days, [official(day, ratio * (1 + random.gauss(0, noise))) for day in days]


def reconcile(
    days: list[DayFigures | None] | list[DayFigures],
    known: list[OfficialDay],
    *,
    profiles: Profiles | None = None,
    extended: bool = True,
    market: float | None = None,
) -> Reconciliation:
    by_date = dict(zip(GRID.dates, known, strict=False))
    return Reconciler(GRID, extended, market).reconcile([*days], profiles or [FULL] * DAYS, by_date)


def without(part: float, day: DayFigures) -> DayFigures:
    return day._replace(volume=day.volume * (1 - part / 0.87))


def scaled(by: float, day: DayFigures) -> DayFigures:
    prices = [
        name for name in DayFigures._fields if name in ("open", "high", "low", "close") or name.startswith("auction_")
    ]
    return day._replace(**{name: getattr(day, name) * by for name in prices if name != "auction_volume"})


LOSSES: Mapping[str, Callable[[DayFigures], DayFigures]] = {
    "an hour in the middle": lambda day: without(0.09, day),
    "a quiet half hour": lambda day: without(0.033, day),
    "a fifth of the minutes": lambda day: without(0.18, day),
    "everything but a morning": lambda day: without(0.6, day),
    "a split of 21:20": lambda day: scaled(20 / 21, day),
    "a split of 10:1": lambda day: scaled(10, day),
    "prices in another currency": lambda day: scaled(1.37, day),
    "another security": lambda day: figures(day.open * 1.019, day.volume * 0.4),
    "an hour later": lambda day: day._replace(
        open=day.open * 0.998,
        close=day.close * 0.999,
        auction_open=day.auction_open * 1.003,
        volume=day.volume * 0.8,
        late_volume=day.late_volume + day.volume * 0.2,
    ),
}


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_among_good_days_is_found_on_its_day_alone(loss: str, symbol: str) -> None:
    days, known = history(symbol)
    days[ODD] = LOSSES[loss](days[ODD])

    assert list(reconcile(days, known).short) == [ODD]


@pytest.mark.parametrize("ratio", [0.72, 0.98, 1.15, 1.42])
def test_a_symbol_is_compared_with_its_own_usual_ratio(ratio: float) -> None:
    days, known = history("SMALL", noise=0.003, ratio=ratio)
    assert reconcile(days, known, profiles=[FULL >> 200] * DAYS).short == {}

    days[ODD] = without(0.12, days[ODD])
    (reason,) = reconcile(days, known, profiles=[FULL >> 200] * DAYS).short.values()
    assert reason.startswith("minutes hold ")
    assert "of the official volume; " in reason
    assert reason.endswith("% is usual")


def test_what_is_missing_is_stated_in_per_cent() -> None:
    days, known = history("BIG", ratio=0.97)
    days[ODD] = days[ODD]._replace(
        volume=known[ODD].volume * 0.61, early_volume=0.0, late_volume=0.0, auction_volume=0.0
    )

    assert reconcile(days, known).short == {ODD: "minutes hold 61% of the official volume; 97% is usual"}


def test_a_lasting_loss_stays_short_and_is_not_taken_for_the_habit() -> None:
    days, known = history("BIG", noise=0.002)
    lost = range(ODD, DAYS)
    for position in lost:
        days[position] = without(0.1, days[position])

    assert list(reconcile(days, known).short) == list(lost)


def test_a_dense_symbol_that_never_had_its_volume_is_short_everywhere() -> None:
    days, known = history("BIG", ratio=0.8)

    assert len(reconcile(days, known).short) == DAYS


@pytest.mark.parametrize("ratio", [1.2, 1.3, 1.42])
def test_a_day_on_which_an_index_is_rebalanced_is_not_suspect(ratio: float) -> None:
    days, known = history("BIG", noise=0.004)
    known[ODD] = official(days[ODD], ratio)

    assert reconcile(days, known).short == {}


def test_twice_the_volume_is_suspect() -> None:
    days, known = history("BIG", noise=0.004)
    known[ODD] = official(days[ODD], 2.1)

    assert list(reconcile(days, known).short) == [ODD]


def test_missing_odd_lots_of_a_thin_symbol_are_not_suspect() -> None:
    days, known = history("SMALL")
    for position in (9, ODD):
        days[position] = figures(23.0, 700.0)
        known[position] = evolve(official(days[position]), volume=880.0)

    assert reconcile(days, known, profiles=[1 << 7] * DAYS).short == {}


def test_a_lost_closing_auction_is_found_by_volume_and_by_price() -> None:
    days, known = history("BIG", noise=0.03)
    quiet = days[ODD]._replace(auction_volume=0.0, auction_open=0.0, auction_high=0.0, auction_low=0.0)
    days[ODD] = quiet._replace(late_volume=days[ODD].late_volume - days[ODD].auction_volume)

    (reason,) = reconcile(days, known).short.values()
    assert "no bar of the closing auction" in reason


def test_a_day_without_an_auction_that_closes_at_its_last_price_is_not_suspect() -> None:
    days, known = history("SMALL")
    late = days[ODD].late_volume - days[ODD].auction_volume
    days[ODD] = days[ODD]._replace(
        auction_volume=0.0, auction_open=0.0, auction_high=0.0, auction_low=0.0, late_volume=late
    )
    known[ODD] = evolve(official(days[ODD]), close=days[ODD].close)

    assert reconcile(days, known).short == {}


@pytest.mark.parametrize("part", [0.0, 0.02])
def test_a_lost_opening_is_found_also_where_ratios_vary(part: float) -> None:
    days, known = history("BIG", noise=0.02)
    days[ODD] = without(part, days[ODD])._replace(open=days[ODD].open * 1.0007)
    profiles = [FULL] * DAYS
    profiles[ODD] = FULL - 1

    (reason,) = reconcile(days, known, profiles=profiles).short.values()
    assert "no bar at the open" in reason


def test_an_opening_that_the_exchange_delayed_is_not_suspect() -> None:
    days, known = history("BIG", noise=0.02)
    profiles = [FULL] * DAYS
    profiles[ODD] = FULL >> 20 << 20

    assert reconcile(days, known, profiles=profiles).short == {}


def test_where_extended_hours_are_not_stored_volume_alone_shows_nothing() -> None:
    """Before a report most of the volume may be outside regular hours."""
    days, known = history("SMALL", noise=0.02)
    known[ODD] = official(days[ODD], 0.6)
    assert reconcile(days, known, extended=False).short == {}

    profiles = [FULL] * DAYS
    profiles[ODD] = FULL // 3  # every second bar
    assert list(reconcile(days, known, extended=False, profiles=profiles).short) == [ODD]


@pytest.mark.parametrize(("ratio", "market", "short"), [(0.6, None, 3), (0.9, None, 0), (0.6, 0.65, 0), (0.5, 0.65, 3)])
def test_few_days_are_compared_with_the_market_or_with_wide_bounds(
    ratio: float, market: float | None, short: int
) -> None:
    days, known = history("SMALL", ratio=ratio)

    found = reconcile([*days[:3], *[None] * (DAYS - 3)], known, market=market, profiles=[1] * DAYS)

    assert len(found.short) == short


def test_the_market_has_a_usual_ratio_if_several_symbols_can_be_compared() -> None:
    ratios = UsualRatios(GRID)
    for number in range(5):
        assert ratios.lowest() is None
        days, known = history("SMALL", number, ratio=0.8 + number / 20)
        ratios.add(list(days), dict(zip(GRID.dates, known, strict=True)))

    assert ratios.lowest() == pytest.approx(0.8)


def test_only_what_is_known_is_compared() -> None:
    days, known = history("BIG")
    by_date: dict[object, OfficialDay | None] = dict(zip(GRID.dates, known, strict=True))
    by_date[GRID.dates[3]] = None
    del by_date[GRID.dates[4]]
    by_date[GRID.dates[5]] = evolve(known[5], volume=60.0)
    sums: list[DayFigures | None] = [*days]
    sums[6], sums[7] = None, days[7]._replace(closes=540)

    found = Reconciler(GRID, True).reconcile(sums, [FULL] * DAYS, by_date)  # type: ignore[arg-type]

    assert found.short == {}
    assert set(range(DAYS)) - set(found.compared) == {3, 4, 5, 6, 7}
    assert Reconciler(GRID, True).reconcile(sums, [FULL] * DAYS, {}) == Reconciliation()


def test_a_day_whose_volume_is_all_there_is_accounted_for_and_a_short_or_noisy_one_is_not() -> None:
    days, known = history("BIG")
    days[ODD] = without(0.009, days[ODD])
    assert set(range(DAYS)) - reconcile(days, known).accounted == {ODD}

    assert reconcile(*history("BIG", noise=0.02)).accounted == frozenset()
    assert reconcile(*history("BIG"), extended=False).accounted == frozenset()


@pytest.mark.parametrize(("noise", "extended"), [(0.0, True), (0.004, True), (0.02, True), (0.05, True), (0.05, False)])
def test_honest_noise_is_not_suspect(noise: float, extended: bool) -> None:
    found = [
        reconcile(*history(symbol, seed, noise), extended=extended).short for symbol in SYMBOLS for seed in range(12)
    ]

    assert found == [{}] * len(found)


@cache
def nine_of_ten_minutes() -> tuple[int, ...]:
    return tuple(
        sum(1 << minute for minute in range(REGULAR) if Random(f"{i} {minute}").random() < 0.9) for i in range(DAYS)
    )


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("seed", range(4))
def test_a_quiet_half_hour_is_found_in_noise_by_its_silence(seed: int, symbol: str) -> None:
    days, known = history(symbol, seed, noise=0.004)
    days[ODD] = without(0.033, days[ODD])
    known[ODD] = evolve(known[ODD], volume=official(history(symbol, seed)[0][ODD]).volume)
    profiles = [*nine_of_ten_minutes()]
    profiles[ODD] &= ~((1 << 230) - (1 << 200))

    assert list(reconcile(days, known, profiles=profiles).short) == [ODD]


def test_volume_refutes_a_silence_that_would_have_cost_more_than_the_noise() -> None:
    days, known = history("BIG", noise=0.003)
    found = reconcile(days, known)

    assert sum(found.refutes(position, 0.2) for position in range(DAYS)) > 0.8 * DAYS
    assert not any(found.refutes(position, 0.01) for position in range(DAYS))
    part = 3.5 * found.habit.spread / 0.4 if found.habit else 0.0  # too little of few bars, whose volumes may be small
    assert not any(found.refutes(position, part, 10) for position in range(DAYS))
    assert sum(found.refutes(position, part, 30) for position in range(DAYS)) > 0.6 * DAYS
    usual = known[ODD]
    known[ODD] = official(days[ODD], 1.3)  # on the day of a rebalancing more is there, whatever is lost
    assert not reconcile(days, known).refutes(ODD, 0.9)
    known[ODD], days[ODD] = usual, without(0.015, days[ODD])
    assert not reconcile(days, known).refutes(ODD, 0.9)
    assert not reconcile(days, known, extended=False).refutes(ODD, 0.9)
    known[ODD] = official(days[ODD], 0.8)
    assert not reconcile(days, known).refutes(ODD, 0.9)


def test_a_day_without_a_bar_in_regular_hours_has_no_prices_to_compare() -> None:
    days, known = history("BIG")
    volume = days[ODD].early_volume + days[ODD].volume + days[ODD].late_volume
    days[ODD] = DayFigures(early_volume=volume)

    found = reconcile(days, known)

    assert (found.short, found.compared[ODD].ratio) == ({}, 1.0)
    assert found.compared[ODD].prices == (0.0, 0.0, 0.0, 0.0)


def test_three_prices_that_usually_equal_the_official_ones_are_not_off_together() -> None:
    days, known = history("BIG")
    of_day = days[ODD]
    days[ODD] = of_day._replace(open=of_day.open * 1.0007, high=of_day.high * 0.9993, low=of_day.low * 1.0007)

    (reason,) = reconcile(days, known).short.values()
    assert reason == "open, high, low of the minutes differ from the official ones, which they usually equal"

    days[ODD] = days[ODD]._replace(low=of_day.low)
    assert reconcile(days, known).short == {}


def test_an_open_that_is_not_the_official_one_shows_nothing_if_the_volume_is_there() -> None:
    days, known = history("BIG")
    days[ODD] = days[ODD]._replace(open=days[ODD].open * 1.0007)

    assert reconcile(days, known).short == {}


def noisy_with_a_loss() -> tuple[list[DayFigures], list[OfficialDay]]:
    """Return days whose ratios vary so much that the loss of one of them counts only with another sign."""
    days, known = history("BIG", noise=0.02)
    known[ODD] = official(days[ODD], 0.905)
    return days, known


def test_a_loss_in_noise_counts_if_the_bar_at_the_open_or_that_of_the_auction_is_missing() -> None:
    days, known = noisy_with_a_loss()
    assert reconcile(days, known).short == {}

    late = [FULL] * DAYS
    late[ODD] = FULL - 1
    assert list(reconcile(days, known, profiles=late).short) == [ODD]

    days[ODD] = days[ODD]._replace(auction_volume=0.0, close=days[ODD].auction_open)
    assert list(reconcile(days, known).short) == [ODD]


def test_a_loss_in_noise_does_not_count_if_the_minutes_of_other_sessions_are_unknown() -> None:
    profiles: list[int | None] = [None] * DAYS
    profiles[ODD] = FULL >> 1 << 1

    assert reconcile(*noisy_with_a_loss(), profiles=profiles).short == {}
