from __future__ import annotations

import math

import pytest

from marketpipe.shared_kernel.domain.ohlcv_bar import INVARIANTS
from marketpipe.shared_kernel.domain.predicate import Record, Severity, holds
from marketpipe.validation.domain.business_rules import BUSINESS_RULES
from tests.support.validating import RULES

MINUTE = 60_000_000
GOOD: Record = {
    "timestamp": 10 * MINUTE,
    "open": 2.0,
    "high": 3.0,
    "low": 1.0,
    "close": 2.0,
    "volume": 10.0,
    "trade_count": 4,
    "vwap": 2.0,
    "session_start": 10 * MINUTE,
    "session_end": 11 * MINUTE,
    "now": 10 * MINUTE,
}


def _broken(changes: Record) -> list[str]:
    return [rule.name for rule in BUSINESS_RULES if not holds(rule.predicate, {**GOOD, **changes})]


def test_every_invariant_of_a_bar_is_an_error_rule() -> None:
    errors = {rule.name: rule.predicate for rule in BUSINESS_RULES if rule.severity is Severity.ERROR}
    assert {**errors, **INVARIANTS} == errors


def test_no_two_rules_share_a_name() -> None:
    names = [rule.name for rule in RULES]
    assert sorted(set(names)) == sorted(names)


def test_a_good_bar_satisfies_every_rule() -> None:
    assert _broken({}) == []


@pytest.mark.parametrize("vwap", [1.0, 3.0, None])
def test_a_vwap_may_be_anything_from_low_to_high_or_missing(vwap: float | None) -> None:
    assert _broken({"vwap": vwap}) == []


@pytest.mark.parametrize("vwap", [0.0, math.nextafter(1.0, 0), math.nextafter(3.0, 4)])
def test_a_vwap_outside_low_to_high_breaks_no_invariant(vwap: float) -> None:
    assert _broken({"vwap": vwap}) == ["vwap_within_range"]


@pytest.mark.parametrize("volume", [0.0, -0.0])
def test_a_vwap_may_be_anything_if_nothing_was_traded(volume: float) -> None:
    assert _broken({"vwap": 0.0, "volume": volume}) == []


@pytest.mark.parametrize("micros", [1, 1_000_000, MINUTE - 1])
def test_a_minute_bar_starts_on_a_full_minute(micros: int) -> None:
    late = {"timestamp": 10 * MINUTE + micros, "now": 20 * MINUTE}
    assert _broken(late) == ["timestamp_on_grid"]


def test_the_grid_reaches_back_before_1970() -> None:
    window: Record = {"session_start": -10 * MINUTE, "session_end": 0}
    assert _broken({**window, "timestamp": -2 * MINUTE}) == []
    assert _broken({**window, "timestamp": -2 * MINUTE + 1}) == ["timestamp_on_grid"]


@pytest.mark.parametrize(
    ("minute", "broken"), [(9, ["within_session"]), (10, []), (11, ["within_session"]), (12, ["within_session"])]
)
def test_a_session_includes_its_first_minute_and_not_its_end(minute: int, broken: list[str]) -> None:
    assert _broken({"timestamp": minute * MINUTE, "now": 20 * MINUTE}) == broken


def test_a_day_without_a_session_breaks_one_rule_and_not_two() -> None:
    assert _broken({"session_start": None, "session_end": None}) == ["on_trading_date"]


@pytest.mark.parametrize(("now", "broken"), [(10 * MINUTE, []), (10 * MINUTE - 1, ["not_in_future"])])
def test_a_bar_may_start_now_but_not_later(now: int, broken: list[str]) -> None:
    assert _broken({"now": now}) == broken


def test_a_bar_without_a_timestamp_satisfies_no_rule_about_time() -> None:
    assert _broken({"timestamp": None}) == ["timestamp_on_grid", "within_session", "not_in_future"]


def test_the_default_severities() -> None:
    mild = {rule.name: str(rule.severity) for rule in RULES}
    assert {name: severity for name, severity in mild.items() if severity != "error"} == {
        "vwap_within_range": "warning",
        "in_order": "warning",
        "no_jump": "warning",
        "no_gap": "off",
    }
