from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay, SymbolDayOutcome, range_as_text, ranges_alike
from tests.support.builders import day


def test_symbol_days_are_ordered_by_symbol_then_trading_date() -> None:
    days = [day("MSFT", "2024-01-02"), day("AAPL", "2024-01-03"), day("AAPL", "2023-12-29")]
    assert [str(symbol_day) for symbol_day in sorted(days)] == ["AAPL 2023-12-29", "AAPL 2024-01-03", "MSFT 2024-01-02"]


def test_days_of_a_symbol_that_are_alike_are_one_range_until_another_comes_between() -> None:
    kinds = {day("MSFT", "2024-01-02"): "a", day("AAPL", "2024-01-03"): "a", day("AAPL", "2024-01-02"): "a"}
    kinds |= {day("AAPL", "2024-01-05"): "a", day("AAPL", "2024-01-08"): "b"}
    between = day("AAPL", "2024-01-04")

    ranges = ranges_alike([*kinds, between], kinds.get)

    assert [(range_as_text(days), kind) for days, kind in ranges] == [
        ("AAPL 2024-01-02 to 2024-01-03 (2 sessions)", "a"),
        ("AAPL 2024-01-05", "a"),
        ("AAPL 2024-01-08", "b"),
        ("MSFT 2024-01-02", "a"),
    ]


def test_equal_symbol_days_are_one_key() -> None:
    assert {day("AAPL", "2024-01-02"): 1}[day("AAPL", "2024-01-02")] == 1
    assert day("AAPL", "2024-01-02") != day("AAPL", "2024-01-03")


def test_symbol_day_cannot_be_changed() -> None:
    symbol_day: SymbolDay = day("AAPL", "2024-01-02")
    with pytest.raises(AttributeError):
        symbol_day.symbol = day("MSFT", "2024-01-02").symbol  # type: ignore[misc]


def test_only_complete_and_empty_symbol_days_need_no_further_request() -> None:
    assert {str(outcome): outcome.is_settled for outcome in Outcome} == {
        "complete": True,
        "empty": True,
        "partial": False,
        "failed": False,
    }


def test_an_outcome_has_no_bars_and_no_error_by_default() -> None:
    outcome = SymbolDayOutcome(day("AAPL", "2024-01-02"), Outcome.EMPTY)
    assert (outcome.rows, outcome.rejected, outcome.error) == (0, 0, None)


def test_severities_are_written_as_in_the_configuration() -> None:
    assert [str(severity) for severity in Severity] == ["error", "warning", "off"]


def test_dataset_identity_tells_provider_feed_adjustment_and_mapping_apart() -> None:
    identity = DatasetIdentity("alpaca", "iex", "raw")
    assert str(identity) == "provider alpaca, feed iex, adjustment raw"
    assert identity == DatasetIdentity("alpaca", "iex", "raw")
    others = [("synthetic", "iex", "raw"), ("alpaca", "sip", "raw"), ("alpaca", "iex", "split")]
    assert all(identity != DatasetIdentity(*other) for other in others)
    assert identity != DatasetIdentity("alpaca", "iex", "raw", asof="2022-06-09")
