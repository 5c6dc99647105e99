from __future__ import annotations

import operator
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate

COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge)
days = st.dates(date(1980, 1, 1), date(2100, 1, 1))


@pytest.mark.parametrize("comparison", COMPARISONS)
@given(one=days, other=days)
def test_an_ordered_class_compares_as_its_field_does(comparison: object, one: date, other: date) -> None:
    assert isinstance(comparison, type(operator.lt))
    assert comparison(TradingDate(one), TradingDate(other)) is comparison(one, other)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_it_does_not_compare_with_another_class(comparison: object) -> None:
    assert isinstance(comparison, type(operator.lt))
    trading_date = TradingDate(date(2024, 1, 2))

    for other in (date(2024, 1, 2), trading_date.midnight, None):
        with pytest.raises(TypeError, match="not supported"):
            comparison(trading_date, other)


def test_equal_moments_are_neither_before_nor_after_each_other() -> None:
    moment = Timestamp.parse("2024-01-02T14:30:00Z")

    assert moment <= moment.plus(timedelta()) <= moment
    assert not moment < moment.plus(timedelta())
