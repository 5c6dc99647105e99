"""Bars of one symbol-day against one another: a bad bar must not cost a good one."""

from __future__ import annotations

import math

import pytest

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.testing import bar
from tests.support.bar_strategies import Row
from tests.support.builders import columnar, day
from tests.support.validating import Setting, column, validated

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
REPEATED = "the bar has the same timestamp as a later bar"


def _at(minute: int, volume: float = 1000.0, price: float = 100.0) -> Row:
    return bar(f"2024-01-02T15:{minute:02}:00Z", price, volume=volume)


def _said(bars: ColumnarBars) -> list[tuple[int, float]]:
    moments = column(bars, "timestamp")
    return [(moment.minute, volume) for moment, volume in zip(moments, column(bars, "volume"), strict=True)]


def test_of_duplicates_the_last_is_kept() -> None:
    result = validated(columnar((AAPL, [_at(0), _at(1, 1.0), _at(1, 2.0), _at(2), _at(1, 3.0)])))
    assert _said(result.accepted) == [(0, 1000.0), (2, 1000.0), (1, 3.0)]
    assert _said(result.rejected) == [(1, 1.0), (1, 2.0)]
    assert column(result.rejected, "rule") == ["unique_timestamp", "unique_timestamp"]
    assert column(result.rejected, "reason") == [REPEATED, REPEATED]


def test_a_bar_sent_twice_unchanged_is_kept_once() -> None:
    result = validated(columnar((AAPL, [_at(0), _at(0), _at(1)])))
    assert _said(result.accepted) == [(0, 1000.0), (1, 1000.0)]
    assert result.findings == (RuleFinding(AAPL, "unique_timestamp", Severity.ERROR, 1),)


@pytest.mark.parametrize("bad_volume", [-1.0, math.inf])
def test_a_bad_duplicate_does_not_cost_the_good_one(bad_volume: float) -> None:
    """Whether the schema refuses it or a business rule; whether it comes before or after."""
    for rows in ([_at(0), _at(1), _at(1, bad_volume)], [_at(0), _at(1, bad_volume), _at(1)]):
        result = validated(columnar((AAPL, rows)))
        assert _said(result.accepted) == [(0, 1000.0), (1, 1000.0)]
        assert _said(result.rejected) == [(1, bad_volume)]
        assert "unique_timestamp" not in column(result.rejected, "rule")


def test_a_bad_bar_does_not_make_its_neighbours_jump() -> None:
    spike = {**_at(1, -1.0), "open": 500.0, "high": 501.0, "low": 499.0, "close": 500.0}
    result = validated(columnar((AAPL, [_at(0), spike])), Setting({"no_jump": Severity.ERROR}))
    assert _said(result.accepted) == [(0, 1000.0)]
    assert column(result.rejected, "rule") == ["schema"]


def test_a_replaced_duplicate_does_not_make_its_neighbours_jump() -> None:
    rows = [_at(0), _at(1, 1.0, price=500.0), _at(1, 2.0)]
    result = validated(columnar((AAPL, rows)), Setting({"no_jump": Severity.ERROR}))
    assert _said(result.accepted) == [(0, 1000.0), (1, 2.0)]
    assert column(result.rejected, "reason") == [REPEATED]


def test_the_same_minute_of_another_symbol_is_no_duplicate() -> None:
    result = validated(columnar((AAPL, [_at(0), _at(1)]), (MSFT, [_at(1), _at(2)])))
    assert result.rejected.num_rows == 0
    assert result.findings == ()


def test_bars_out_of_order_are_kept_with_a_warning() -> None:
    result = validated(columnar((AAPL, [_at(0), _at(3), _at(1), _at(2), _at(4)]), (MSFT, [_at(0), _at(1)])))
    assert _said(result.accepted)[:5] == [(minute, 1000.0) for minute in (0, 3, 1, 2, 4)]
    assert result.findings == (RuleFinding(AAPL, "in_order", Severity.WARNING, 2),)


def test_bars_out_of_order_are_rejected_if_that_is_an_error() -> None:
    result = validated(columnar((AAPL, [_at(0), _at(3), _at(1), _at(4)])), Setting({"in_order": Severity.ERROR}))
    assert _said(result.accepted) == [(0, 1000.0), (3, 1000.0), (4, 1000.0)]
    assert column(result.rejected, "reason") == ["the bar arrived after a bar with a later time"]


def test_duplicates_are_all_kept_if_they_are_only_a_warning() -> None:
    result = validated(columnar((AAPL, [_at(0), _at(0), _at(1)])), Setting({"unique_timestamp": Severity.WARNING}))
    assert result.accepted.num_rows == 3
    assert result.findings == (RuleFinding(AAPL, "unique_timestamp", Severity.WARNING, 1),)


def test_a_warning_does_not_hide_a_bar_from_the_rules_after_it() -> None:
    rows = [_at(0), _at(3), _at(1, price=300.0), _at(4), _at(5)]
    result = validated(columnar((AAPL, rows)))
    assert result.accepted.num_rows == 5
    assert result.findings == (
        RuleFinding(AAPL, "in_order", Severity.WARNING, 1),
        RuleFinding(AAPL, "no_jump", Severity.WARNING, 1),
    )


def test_a_leap_of_prices_that_lasts_is_a_warning_at_most() -> None:
    """A split in the middle of a day: no bar is more than 1.5 times above both its neighbours."""
    rows = [_at(minute, price=100.0 if minute < 3 else 400.0) for minute in range(6)]
    result = validated(columnar((AAPL, rows)))
    assert result.findings == ()
    assert result.accepted.num_rows == 6
