from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.predicate import (
    AllOf,
    AnyOf,
    Compare,
    Field,
    IsFinite,
    IsNull,
    Literal,
    Not,
    Predicate,
    Record,
    Remainder,
    Term,
    Value,
    holds,
)

A, B = Field("a"), Field("b")
NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-5, 5))
RECORDS = st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS})
LEAVES: st.SearchStrategy[Predicate] = st.sampled_from(
    [A < B, A <= B, A > B, A >= B, A.equals(B), A > 0, B <= 1.5, IsNull(A), IsFinite(B)]
)
PREDICATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda p, q: p & q, inner, inner), st.builds(lambda p, q: p | q, inner, inner), st.builds(Not, inner)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("predicate", "outcomes"),
    [
        (A < B, (True, False, False)),
        (A <= B, (True, True, False)),
        (A > B, (False, False, True)),
        (A >= B, (False, True, True)),
        (A.equals(B), (False, True, False)),
        (A < 2, (True, False, False)),
        (0 < A, (True, True, True)),  # noqa: SIM300 - the reflected operator
        (2 <= A, (False, True, True)),  # noqa: SIM300
        (2 > A, (True, False, False)),  # noqa: SIM300
        (A.equals(2), (False, True, False)),
    ],
)
def test_comparison_of_two_numbers(predicate: Predicate, outcomes: tuple[bool, bool, bool]) -> None:
    records: list[Record] = [{"a": 1, "b": 2}, {"a": 2, "b": 2.0}, {"a": 3, "b": 2}]
    assert tuple(holds(predicate, record) for record in records) == outcomes


@pytest.mark.parametrize("missing", [None, math.nan])
@pytest.mark.parametrize("predicate", [A < B, A <= B, A > B, A >= B, A.equals(B)])
def test_comparison_with_null_or_nan_does_not_hold_but_its_negation_does(predicate: Predicate, missing: Value) -> None:
    for record in ({"a": missing, "b": 1}, {"a": 1, "b": missing}, {"a": missing, "b": missing}):
        assert not holds(predicate, record)
        assert holds(~predicate, record)


@pytest.mark.parametrize(
    ("value", "null", "finite"),
    [
        (None, True, False),
        (math.nan, False, False),
        (math.inf, False, False),
        (-math.inf, False, False),
        (0, False, True),
        (-1.5, False, True),
        (10**300, False, True),
        ("7", False, False),
    ],
)
def test_null_and_finite(value: Value, null: bool, finite: bool) -> None:
    assert holds(IsNull(A), {"a": value}) is null
    assert holds(IsFinite(A), {"a": value}) is finite


@pytest.mark.parametrize(
    ("value", "remainder"), [(60_000_000, 0), (60_000_001, 1), (0, 0), (-1, 59_999_999), (-60_000_000, 0)]
)
def test_remainder_is_never_negative(value: int, remainder: int) -> None:
    assert holds(Remainder(A, 60_000_000).equals(remainder), {"a": value})


def test_remainder_of_null_does_not_hold() -> None:
    assert not holds(Remainder(A, 60).equals(0), {"a": None})


def test_infinities_compare_as_numbers_do() -> None:
    assert holds(A < B, {"a": -math.inf, "b": math.inf})
    assert holds(A.equals(B), {"a": math.inf, "b": math.inf})


def test_text_is_equal_to_text() -> None:
    assert holds(A.equals("iex"), {"a": "iex"})
    assert not holds(A.equals("iex"), {"a": "sip"})
    assert not holds(A.equals("iex"), {"a": 5})


def test_conjunction_of_nothing_holds_and_disjunction_of_nothing_does_not() -> None:
    assert holds(AllOf(()), {})
    assert not holds(AnyOf(()), {})


@given(PREDICATES, PREDICATES, RECORDS)
def test_logic_has_two_values_and_de_morgan_holds(p: Predicate, q: Predicate, record: Record) -> None:
    assert holds(~(p & q), record) == holds(~p | ~q, record)
    assert holds(~(p | q), record) == holds(~p & ~q, record)
    assert holds(~~p, record) == holds(p, record)
    assert holds(p | ~p, record)
    assert not holds(p & ~p, record)


def test_predicates_are_data_equal_by_their_parts() -> None:
    assert (A < B) == (A < B)
    assert (A < B) != (A <= B)
    assert (A < 1) == Compare("<", A, Literal(1))
    assert len({(A < B) & ~IsNull(A), (A < B) & ~IsNull(A)}) == 1
    assert repr(~(A > 0)) == "Not(part=Compare(operator='>', left=Field(name='a'), right=Literal(value=0)))"


def test_field_that_the_record_lacks_is_an_error_and_not_null() -> None:
    with pytest.raises(KeyError, match="b"):
        holds(A < B, {"a": 1})


class Unheard(Predicate):
    pass


@pytest.mark.parametrize("predicate", [Unheard(), IsNull(A) | Unheard(), ~Unheard(), "a < b", None])
def test_unknown_predicate_is_refused(predicate: Any) -> None:
    with pytest.raises(TypeError, match="unknown predicate"):
        holds(predicate, {"a": 1})


def test_unknown_term_is_refused() -> None:
    with pytest.raises(TypeError, match="unknown term"):
        holds(Compare("<", Term(), A), {"a": 1})
