from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.ohlcv_bar import INVARIANTS
from marketpipe.shared_kernel.domain.predicate import (
    AllOf,
    AnyOf,
    Compare,
    Field,
    IsFinite,
    IsNull,
    Literal,
    Predicate,
    Record,
    Remainder,
    holds,
)
from marketpipe.validation.domain.business_rules import BUSINESS_RULES
from marketpipe.validation.domain.validation_rule import ValidationRule
from marketpipe.validation.infrastructure.column_masks import failing, mask
from tests.support.bar_strategies import arrays, plausible_records, predicates, records
from tests.support.examples import examples

EVERYTHING = {**{rule.name: rule.predicate for rule in BUSINESS_RULES}, **INVARIANTS}


def _row_by_row(predicate: Predicate, rows: list[Record]) -> list[bool]:
    return [holds(predicate, row) for row in rows]


@examples(400)
@given(predicates(), st.lists(records(), max_size=8))
def test_the_plain_interpreter_and_the_mask_agree_on_any_predicate(predicate: Predicate, rows: list[Record]) -> None:
    assert mask(predicate, arrays(rows)).to_pylist() == _row_by_row(predicate, rows)


@pytest.mark.parametrize("rule", BUSINESS_RULES, ids=lambda rule: rule.name)
@examples(80)
@given(rows=st.lists(plausible_records() | records(), min_size=1, max_size=20))
def test_the_plain_interpreter_and_the_mask_agree_on_every_business_rule(
    rule: ValidationRule, rows: list[Record]
) -> None:
    assert mask(rule.predicate, arrays(rows)).to_pylist() == [holds(rule.predicate, row) for row in rows]


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_mask_of_no_rows_has_no_rows(name: str) -> None:
    found = mask(EVERYTHING[name], arrays([]))
    assert found.type == pa.bool_()
    assert found.to_pylist() == []


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "=="])
def test_no_comparison_with_null_or_nan_holds(operator: str) -> None:
    fields = {"price": pa.array([None, float("nan")], pa.float64(), from_pandas=False)}
    price = Field("price")
    assert mask(Compare(operator, price, Literal(1.0)), fields).to_pylist() == [False, False]
    assert mask(Compare(operator, price, price), fields).to_pylist() == [False, False]
    assert mask(~Compare(operator, price, price), fields).to_pylist() == [True, True]


def test_nan_is_not_null_and_neither_is_finite() -> None:
    fields = {"price": pa.array([None, float("nan"), 1.0], pa.float64(), from_pandas=False)}
    assert mask(IsNull(Field("price")), fields).to_pylist() == [True, False, False]
    assert mask(IsFinite(Field("price")), fields).to_pylist() == [False, False, True]


@pytest.mark.parametrize(
    ("predicate", "verdict"),
    [
        (AllOf(()), True),
        (AnyOf(()), False),
        (~AllOf(()), False),
        (Literal(1) < Literal(2), True),
        (Literal(2.5) <= Literal(2), False),
    ],
)
def test_a_predicate_that_reads_no_field_is_the_same_for_every_row(predicate: Predicate, verdict: bool) -> None:
    assert holds(predicate, {}) is verdict
    assert mask(predicate, {"price": pa.array([1.0, None])}).to_pylist() == [verdict, verdict]


def test_a_remainder_is_never_negative() -> None:
    whole = [-60_000_001, -60_000_000, -1, 0, 1, 60_000_000, None, -(2**63), 2**63 - 1]
    fields = {"timestamp": pa.array(whole, pa.int64())}
    remainder = Remainder(Field("timestamp"), 60_000_000)
    for value in (59_999_999, 0, 1):
        expected = [micros is not None and micros % 60_000_000 == value for micros in whole]
        assert mask(remainder.equals(value), fields).to_pylist() == expected


def test_integers_are_compared_exactly_however_large() -> None:
    fields = {"trade_count": pa.array([2**53, 2**53 + 1, 2**63 - 1, -(2**63)], pa.int64())}
    count = Field("trade_count")
    assert mask(count > 2**53, fields).to_pylist() == [False, True, True, False]
    assert mask(INVARIANTS["trade_count_not_negative"], fields).to_pylist() == [True, True, True, False]


def test_what_every_row_satisfies_has_no_failing_rows() -> None:
    price = Field("price")
    fields = {"price": pa.array([1.0, 2.0, None])}

    found = failing(price > 1, fields)

    assert failing(IsNull(price) | (price > 0), fields) is None
    assert found is not None
    assert found.tolist() == [True, False, True]
