from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.predicate import Record, Severity
from marketpipe.validation.domain.business_rules import SEQUENCE_RULES
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceCheck, SequenceRule, SymbolBarsAggregate
from marketpipe.validation.infrastructure.column_masks import SequenceColumns, offenders
from tests.support.bar_strategies import sequences
from tests.support.builders import day
from tests.support.examples import examples

RULES = {rule.name: rule for rule in SEQUENCE_RULES}
MINUTE = 60_000_000


def _columns(symbol_days: Sequence[Sequence[Record]]) -> SequenceColumns:
    rows = [row for bars in symbol_days for row in bars]
    prices = (np.array([row[name] for row in rows], np.float64) for name in ("high", "low", "close"))
    owner = np.repeat(np.arange(len(symbol_days)), np.array([len(bars) for bars in symbol_days], np.int64))
    return SequenceColumns(owner, np.array([row["timestamp"] for row in rows], np.int64), *prices)


def _one_by_one(rule: SequenceRule, symbol_days: Sequence[Sequence[Record]]) -> list[bool]:
    found: list[bool] = []
    for bars in symbol_days:
        positions = SymbolBarsAggregate(day("AAPL", "2024-01-02"), bars).offenders(rule)
        found += [i in positions for i in range(len(bars))]
    return found


def _flat(time: int, price: float = 100.0) -> Record:
    return {"timestamp": time * MINUTE, "high": price, "low": price, "close": price}


@pytest.mark.parametrize("rule", SEQUENCE_RULES, ids=lambda rule: rule.name)
@examples(120)
@given(symbol_days=sequences())
def test_the_aggregate_and_the_columns_agree_on_every_sequence_rule(
    rule: SequenceRule, symbol_days: list[list[Record]]
) -> None:
    assert offenders(rule, _columns(symbol_days)).tolist() == _one_by_one(rule, symbol_days)


@examples(120)
@given(st.sampled_from(SequenceCheck), st.sampled_from((0.0, 0.5, 1.0, 2, 30, 1e308)), sequences())
def test_they_agree_for_any_limit(check: SequenceCheck, limit: float, symbol_days: list[list[Record]]) -> None:
    rule = SequenceRule("any", Severity.ERROR, check, "is wrong", limit)
    assert offenders(rule, _columns(symbol_days)).tolist() == _one_by_one(rule, symbol_days)


@pytest.mark.parametrize("name", RULES)
def test_one_symbol_day_does_not_affect_the_next(name: str) -> None:
    """The last bar of one and the first of the next repeat, go back in time, leap and leave a gap."""
    symbol_days = [[_flat(0), _flat(1)], [], [_flat(1, 500.0)], [_flat(900, 1.0)], [_flat(0, 900.0)]]
    assert offenders(RULES[name], _columns(symbol_days)).tolist() == [False] * 5


def test_of_repeats_far_apart_all_but_the_last_offend() -> None:
    symbol_days = [[_flat(3), _flat(1), _flat(3), _flat(2), _flat(3)], [_flat(3), _flat(4)]]
    found = offenders(RULES["unique_timestamp"], _columns(symbol_days))
    assert found.tolist() == [True, False, True, False, False, False, False]


def test_disorder_is_counted_in_the_symbol_day_that_has_it() -> None:
    symbol_days = [[_flat(1), _flat(2)], [_flat(3), _flat(1), _flat(2), _flat(3)]]
    found = offenders(RULES["in_order"], _columns(symbol_days))
    assert found.tolist() == [False, False, False, True, True, False]


def test_prices_near_the_largest_double_raise_no_warning() -> None:
    huge = _columns([[_flat(0, 1.7e308), _flat(1, 1.7e308), _flat(2, 1.7e308)]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert offenders(RULES["no_jump"], huge).tolist() == [False, False, False]
