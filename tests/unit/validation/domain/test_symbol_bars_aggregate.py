from __future__ import annotations

import math

import pytest

from marketpipe.shared_kernel.domain.predicate import Record, Severity
from marketpipe.validation.domain.business_rules import SEQUENCE_RULES
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceCheck, SequenceRule, SymbolBarsAggregate
from tests.support.builders import day

RULES = {rule.name: rule for rule in SEQUENCE_RULES}


def _offenders(rule: SequenceRule, *bars: Record) -> list[int]:
    return SymbolBarsAggregate(day("AAPL", "2024-01-02"), bars).offenders(rule)


def _at(*minutes: float) -> list[Record]:
    return [{"timestamp": int(minute * 60_000_000), "high": 1.0, "low": 1.0, "close": 1.0} for minute in minutes]


def _priced(*prices: float | None) -> list[Record]:
    return [{"timestamp": i * 60_000_000, "high": p, "low": p, "close": p} for i, p in enumerate(prices)]


@pytest.mark.parametrize(
    ("minutes", "repeated", "late"),
    [
        ((), [], []),
        ((5,), [], []),
        ((1, 2, 3), [], []),
        ((1, 1, 2), [0], []),
        ((1, 2, 1), [0], [2]),
        ((1, 1, 1), [0, 1], []),
        ((3, 1, 2), [], [1, 2]),
        ((1, 3, 2, 4), [], [2]),
        ((2, 1, 2, 1), [0, 1], [1, 3]),
    ],
)
def test_of_repeats_the_last_is_kept_and_a_bar_after_a_later_one_is_late(
    minutes: tuple[float, ...], repeated: list[int], late: list[int]
) -> None:
    assert _offenders(RULES["unique_timestamp"], *_at(*minutes)) == repeated
    assert _offenders(RULES["in_order"], *_at(*minutes)) == late


@pytest.mark.parametrize(
    ("minutes", "after_gaps"),
    [((0, 30), []), ((0, 31), [1]), ((0, 30 + 1 / 60), [1]), ((0, 40, 41, 90), [1, 3]), ((100, 0), []), ((900,), [])],
)
def test_a_gap_is_more_than_the_limit_in_minutes(minutes: tuple[float, ...], after_gaps: list[int]) -> None:
    assert _offenders(RULES["no_gap"], *_at(*minutes)) == after_gaps


@pytest.mark.parametrize(
    ("prices", "jumping"),
    [
        ((100, 100, 100, 100, 100), []),
        ((100, 100, 150, 100, 100), []),
        ((100, 100, 151, 100, 100), [2]),
        ((100, 100, 67, 100, 100), []),
        ((100, 100, 66, 100, 100), [2]),
        ((100, 100, 200, 200), []),
        ((100, 100, math.inf, 100, 100), [2]),
        ((100, 100, math.nan, 100, 100), []),
    ],
)
def test_a_jump_is_half_again_above_or_below_both_neighbours(prices: tuple[float, ...], jumping: list[int]) -> None:
    assert _offenders(RULES["no_jump"], *_priced(*prices)) == jumping


@pytest.mark.parametrize(
    ("prices", "jumping"),
    [
        ((100,), []),
        ((100, 151), [0, 1]),
        ((151, 100, 100), [0]),
        ((100, 100, 151), [2]),
        ((100, 151, 100, 100), [0, 1]),
        ((None, 100, None), []),
        ((100, None, 151), []),
        ((100, 100, 200, None, 200, 200), [2]),
        ((math.nan, 100, 151, 151), [1]),
    ],
)
def test_if_a_bar_has_one_neighbour_that_one_decides(prices: tuple[float, ...], jumping: list[int]) -> None:
    assert _offenders(RULES["no_jump"], *_priced(*prices)) == jumping


def test_a_jump_is_found_if_only_the_range_of_a_bar_jumps() -> None:
    leap: Record = {"timestamp": 60_000_000, "high": 645.57, "low": 92.23, "close": 92.5}
    calm = _priced(92.5, 92.5, 92.5)
    assert _offenders(RULES["no_jump"], calm[0], leap, calm[2]) == [1]


def test_the_limit_belongs_to_the_rule() -> None:
    twice = SequenceRule("doubled", Severity.ERROR, SequenceCheck.JUMP, "doubled", 2.0)
    assert _offenders(twice, *_priced(100, 100, 200, 100, 100)) == []
    assert _offenders(twice, *_priced(100, 100, 201, 100, 100)) == [2]
