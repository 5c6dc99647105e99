from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.testing import bar
from tests.support.bar_strategies import Row
from tests.support.builders import columnar, day
from tests.support.validating import LAX_SCHEMA, Setting, column, validated

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
ERRORS: dict[str, tuple[Row, str]] = {
    "schema": ({"open": None}, "open: None is not of type 'number'"),
    "prices_finite": ({"high": math.inf}, "the bar has a price that is not a finite number"),
    "high_is_highest": ({"close": 101.5}, "the bar has a high below its open, low or close"),
    "low_is_lowest": ({"close": 98.5}, "the bar has a low above its open, high or close"),
    "volume_not_negative": ({"volume": math.nan}, "the bar has a volume below zero or not finite"),
    "vwap_not_negative": ({"vwap": math.inf}, "the bar has a vwap below zero or not finite"),
    "volume_exact": ({"volume": 2.0**53}, "the bar has a volume too large to be held exactly"),
}
UNSEEN_BEHIND_THE_SCHEMA: dict[str, tuple[Row, str]] = {
    "prices_positive": ({"low": -0.0}, "the bar has a price that is not above zero"),
    "volume_not_negative": ({"volume": -1.0}, "the bar has a volume below zero or not finite"),
    "trade_count_not_negative": ({"trade_count": -1}, "the bar has a trade count below zero"),
    "vwap_not_negative": ({"vwap": -1.0}, "the bar has a vwap below zero or not finite"),
}
WARNINGS: dict[str, Row] = {
    "vwap_within_range": {"vwap": 98.0},
    "no_jump": {"high": 152.0},
}


def _three(changes: Row) -> list[Row]:
    """Two good bars, and between them one that has been changed."""
    return [bar("2024-01-02T15:00:00Z"), bar("2024-01-02T15:01:00Z", **changes), bar("2024-01-02T15:02:00Z")]


def _minutes(bars: Any) -> list[str]:
    return [f"{moment:%H:%M:%S}" for moment in column(bars, "timestamp")]


@pytest.mark.parametrize("rule", ERRORS)
def test_an_error_rule_rejects_its_bar_and_no_other_of_the_symbol_day(rule: str) -> None:
    changes, reason = ERRORS[rule]
    result = validated(columnar((AAPL, _three({})), (MSFT, _three(changes))))
    assert _minutes(result.accepted) == ["15:00:00", "15:01:00", "15:02:00", "15:00:00", "15:02:00"]
    assert _minutes(result.rejected) == ["15:01:00"]
    assert column(result.rejected, "rule") == [rule]
    assert column(result.rejected, "severity") == ["error"]
    assert column(result.rejected, "reason") == [reason]
    assert column(result.rejected, "raw") == [None]
    assert RuleFinding(MSFT, rule, Severity.ERROR, 1) in result.findings
    assert {finding.symbol_day for finding in result.findings} == {MSFT}


@pytest.mark.parametrize("rule", UNSEEN_BEHIND_THE_SCHEMA)
def test_what_the_schema_refuses_the_business_rules_would_refuse_as_well(rule: str) -> None:
    changes, reason = UNSEEN_BEHIND_THE_SCHEMA[rule]
    bars = columnar((AAPL, _three(changes)))
    assert column(validated(bars).rejected, "rule") == ["schema"]
    result = validated(bars, Setting(schema=LAX_SCHEMA))
    assert column(result.rejected, "rule") == [rule]
    assert column(result.rejected, "reason") == [reason]
    assert _minutes(result.accepted) == ["15:00:00", "15:02:00"]


@pytest.mark.parametrize("rule", WARNINGS)
def test_a_warning_is_counted_and_keeps_the_bar(rule: str) -> None:
    bars = columnar((AAPL, _three({})), (MSFT, [*_three(WARNINGS[rule]), bar("2024-01-02T15:03:00Z")]))
    result = validated(bars)
    assert pa.table(result.accepted).equals(bars.table)
    assert result.rejected.num_rows == 0
    assert result.findings == (RuleFinding(MSFT, rule, Severity.WARNING, 1),)


def test_the_first_error_rule_is_named_and_the_reasons_of_all_are_joined() -> None:
    result = validated(columnar((AAPL, _three({"close": math.nan, "volume": math.inf, "vwap": 500.0}))))
    assert column(result.rejected, "rule") == ["prices_finite"]
    assert column(result.rejected, "reason") == [
        "the bar has a price that is not a finite number; the bar has a price that is not above zero; "
        "the bar has a high below its open, low or close; the bar has a low above its open, high or close; "
        "the bar has a volume below zero or not finite"
    ]


def test_a_bar_that_the_schema_refused_is_not_checked_again() -> None:
    result = validated(columnar((AAPL, _three({"close": None, "volume": math.inf, "vwap": 500.0}))))
    assert result.findings == (RuleFinding(AAPL, "schema", Severity.ERROR, 1),)


def test_the_raw_values_of_a_rejected_bar_are_kept_as_they_came() -> None:
    result = validated(columnar((AAPL, _three({"high": math.inf, "trade_count": None, "vwap": -0.5}))))
    (row,) = pa.table(result.rejected).select(["open", "high", "low", "trade_count", "vwap"]).to_pylist()
    assert row == {"open": 100.0, "high": math.inf, "low": 99.0, "trade_count": None, "vwap": -0.5}


def test_findings_are_counted_by_symbol_day_in_the_order_of_the_rules() -> None:
    broken = [*_three({"high": math.inf}), bar("2024-01-02T15:03:00Z", high=math.inf, vwap=1.0)]
    result = validated(columnar((MSFT, broken), (AAPL, _three({"high": math.inf, "vwap": 98.5}))))
    assert result.findings == (
        RuleFinding(MSFT, "prices_finite", Severity.ERROR, 2),
        RuleFinding(AAPL, "prices_finite", Severity.ERROR, 1),
        RuleFinding(MSFT, "vwap_within_range", Severity.WARNING, 1),
        RuleFinding(AAPL, "vwap_within_range", Severity.WARNING, 1),
    )


@pytest.mark.parametrize(
    ("severity", "kept", "findings"),
    [
        (Severity.ERROR, 2, (RuleFinding(AAPL, "high_is_highest", Severity.ERROR, 1),)),
        (Severity.WARNING, 3, (RuleFinding(AAPL, "high_is_highest", Severity.WARNING, 1),)),
        (Severity.OFF, 3, ()),
    ],
)
def test_an_error_rule_can_be_made_a_warning_or_left_out(
    severity: Severity, kept: int, findings: tuple[RuleFinding, ...]
) -> None:
    """According to Alpaca's staff an open may legitimately exceed the high."""
    result = validated(columnar((AAPL, _three({"open": 101.5}))), Setting({"high_is_highest": severity}))
    assert (result.accepted.num_rows, result.rejected.num_rows) == (kept, 3 - kept)
    assert result.findings == findings


@pytest.mark.parametrize("rule", WARNINGS)
def test_a_warning_rule_can_be_made_an_error(rule: str) -> None:
    rows = [*_three(WARNINGS[rule]), bar("2024-01-02T15:03:00Z")]
    result = validated(columnar((AAPL, rows)), Setting({rule: Severity.ERROR}))
    assert _minutes(result.accepted) == ["15:00:00", "15:02:00", "15:03:00"]
    assert column(result.rejected, "rule") == [rule]


def test_gaps_are_found_if_their_rule_is_not_off() -> None:
    bars = columnar((AAPL, [bar("2024-01-02T15:00:00Z"), bar("2024-01-02T15:31:00Z")]))
    assert validated(bars).findings == ()
    result = validated(bars, Setting({"no_gap": Severity.WARNING}))
    assert result.findings == (RuleFinding(AAPL, "no_gap", Severity.WARNING, 1),)
    assert result.accepted.num_rows == 2
