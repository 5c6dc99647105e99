from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import Price, exact

POSITIVE_FLOATS = st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False)


@given(POSITIVE_FLOATS)
@example(0.1)
@example(139.882513)
@example(5e-324)
@example(1.7976931348623157e308)
def test_price_of_a_float_is_the_shortest_decimal_that_reads_back(number: float) -> None:
    price = Price(number)
    assert float(price) == number
    assert price.value == Decimal(str(number))


@given(POSITIVE_FLOATS)
def test_numpy_float_gives_the_same_price_as_a_plain_one(number: float) -> None:
    assert Price(np.float64(number)) == Price(number)


def test_price_of_a_float_carries_no_binary_tail() -> None:
    assert str(Price(0.1)) == "0.1"
    assert str(Price(512.992729)) == "512.992729"


@given(st.decimals(min_value=Decimal("1e-30"), allow_nan=False, allow_infinity=False))
def test_price_keeps_every_digit_of_a_decimal(number: Decimal) -> None:
    assert Price(number).value.as_tuple() == number.as_tuple()
    assert Price(str(number)) == Price(number)


def test_price_of_a_whole_number_is_exact_beyond_floats() -> None:
    assert Price(2**53 + 1).value == 9007199254740993
    assert Price(37).value == Decimal(37)


@pytest.mark.parametrize(
    "number", [0, 0.0, -0.0, -1, -0.01, "-3", float("nan"), float("inf"), float("-inf"), "NaN", "Infinity"]
)
def test_price_refuses_what_is_not_positive_and_finite(number: Any) -> None:
    with pytest.raises(ValidationError, match="a price is positive and finite, not"):
        Price(number)


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("-NaN")])
def test_price_refuses_decimals_that_are_no_numbers(number: Decimal) -> None:
    with pytest.raises(ValidationError, match="a price is positive and finite, not"):
        Price(number)


@pytest.mark.parametrize("value", ["", "abc", "1,5", "12.3.4", "$5", None, [], {}, object(), 1j, Decimal("sNaN")])
def test_price_refuses_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValidationError, match="is not a number"):
        Price(value)


@pytest.mark.parametrize("value", [Decimal("sNaN"), "sNaN", Decimal("-sNaN123")])
def test_exact_refuses_signaling_nan_which_cannot_become_a_float(value: Any) -> None:
    with pytest.raises(ValidationError, match="is not a number"):
        exact(value)


def test_exact_allows_zero_and_negative_numbers() -> None:
    assert exact(0.0) == Decimal(0)
    assert exact(-2.5) == Decimal("-2.5")


def test_prices_are_equal_and_ordered_by_value() -> None:
    assert Price("1.0") == Price(1) == Price(Decimal("1.00"))
    assert len({Price("1.0"), Price(1)}) == 1
    assert Price("9.99") < Price(10) < Price("10.000001")
    assert max(Price(2), Price("2.5"), Price("0.1")) == Price("2.5")


def test_price_shows_its_decimal() -> None:
    assert repr(Price(139.882513)) == "Price('139.882513')"
    assert str(Price("100.50")) == "100.50"
