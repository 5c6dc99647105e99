from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.trading_date import MINUTES_A_DAY, TradedMinutes


@given(st.sets(st.integers(0, MINUTES_A_DAY - 1)))
def test_minutes_come_back_as_they_were_given(minutes: set[int]) -> None:
    bits = sum(1 << minute for minute in minutes)

    traded = TradedMinutes.of(bits)

    assert traded.bits == bits
    assert len(traded) == len(minutes)
    assert TradedMinutes(traded.packed) == traded


def test_a_day_ends_at_eight_in_the_evening() -> None:
    assert len(TradedMinutes.of(1 << MINUTES_A_DAY - 1)) == 1
    with pytest.raises(ValidationError, match="960 minutes"):
        TradedMinutes.of(1 << MINUTES_A_DAY)


def test_the_same_minutes_are_written_in_one_way_only() -> None:
    with pytest.raises(ValidationError):
        TradedMinutes(b"\x01\x00")
