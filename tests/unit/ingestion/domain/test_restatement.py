from __future__ import annotations

import pytest

from marketpipe.ingestion.domain.restatement import Restatement, RestatementKind, adoptable, is_split
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from tests.support.builders import day

AAPL = day("AAPL", "2024-01-02")


@pytest.mark.parametrize(
    "ratio",
    [
        2,
        3,
        4,
        7,
        10,
        20,
        50,
        1.5,
        4 / 3,
        5 / 4,
        5 / 2,
        1 / 2,
        1 / 3,
        1 / 10,
        2 / 3,
        1 / 100,
        6 / 5,
        5 / 6,
        7 / 5,
        5 / 8,
    ],
)
def test_ratios_of_small_whole_numbers_are_splits(ratio: float) -> None:
    assert is_split(ratio)
    assert is_split(ratio * 1.002)


@pytest.mark.parametrize("ratio", [21 / 20, 20 / 21, 20 / 21 + 4e-4])
def test_a_stock_dividend_of_five_percent_is_a_split_unless_the_volume_stayed(ratio: float) -> None:
    assert is_split(ratio)
    assert is_split(ratio, 1 / ratio)
    assert not is_split(ratio, 1.0)


@pytest.mark.parametrize("ratio", [11 / 10, 0.87, 0.99, 1.02, 1 / 3, 2.13])
def test_volumes_that_move_the_other_way_show_a_split_of_any_ratio(ratio: float) -> None:
    assert is_split(ratio, 1 / ratio)
    assert not is_split(ratio, ratio)


def test_a_split_with_a_dividend_is_a_split() -> None:
    assert is_split(0.5 * 0.97, 2.0)
    assert is_split(10 * 0.98, 0.1)


@pytest.mark.parametrize("ratio", [0.99, 0.9925, 0.985, 0.9535, 0.951, 0.9512])
def test_a_dividend_is_no_split(ratio: float) -> None:
    assert not is_split(ratio)
    assert not is_split(ratio, 1.0)


@pytest.mark.parametrize("ratio", [1.0, 0.9925, 1.01, 0.9, 1.1, 1.37, 0.87, 2.13, 1 / 1.42])
def test_other_ratios_are_none(ratio: float) -> None:
    assert not is_split(ratio)


@pytest.mark.parametrize(
    ("ratio", "kind"),
    [
        (None, RestatementKind.CORRECTION),
        (1.0, RestatementKind.CORRECTION),
        (1.0003, RestatementKind.CORRECTION),
        (0.985, RestatementKind.DIVIDEND),
        (0.25, RestatementKind.SPLIT),
    ],
)
def test_a_constant_ratio_shows_what_the_provider_did(ratio: float | None, kind: RestatementKind) -> None:
    found = Restatement.of(DayComparison(AAPL, changed=390, price_ratio=ratio))

    assert found.kind is kind
    assert found.is_adjustment == (kind is not RestatementKind.CORRECTION)
    assert found.ratio == (ratio if found.is_adjustment else None)


def test_a_renewed_symbol_adopts_only_days_that_have_no_stored_bars() -> None:
    late, changed = DayComparison(day("AAPL", "2024-01-03"), added=9), DayComparison(AAPL, changed=9)
    other = DayComparison(day("MSFT", "2024-01-02"), changed=1)

    found = adoptable([changed, late, other], renewed={AAPL.symbol})

    assert found == {AAPL.symbol: {late.symbol_day.trading_date}, other.symbol_day.symbol: {AAPL.trading_date}}
