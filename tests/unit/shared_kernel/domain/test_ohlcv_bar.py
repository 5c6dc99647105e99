from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import INVARIANTS, OHLCVBar, Price
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate

OPENING = Timestamp.parse("2024-01-02T14:30:00Z")
PRICES = st.integers(1, 6).map(lambda n: n / 2)


def make_bar(**changes: Any) -> OHLCVBar:
    fields = {"open": 10, "high": 12, "low": 9, "close": 11, "volume": 100, **changes}
    return OHLCVBar(**{"symbol": Symbol("AAPL"), "timestamp": OPENING, **fields})


def refusal(**changes: Any) -> list[str]:
    """The names of the invariants that a refused bar breaks."""
    with pytest.raises(ValidationError) as refused:
        make_bar(**changes)
    head, _, names = str(refused.value).rpartition(": ")
    assert head == "not an OHLCV bar: AAPL 2024-01-02T14:30:00Z"
    return names.split(", ")


def test_bar_converts_its_numbers_exactly() -> None:
    bar = make_bar(open=139.882513, high="512.992729", volume=0.1, vwap=Decimal("11.5"), trade_count=3)
    assert bar.open == Price("139.882513")
    assert bar.high.value == Decimal("512.992729")
    assert bar.volume == Decimal("0.1")
    assert bar.vwap == Decimal("11.5")
    assert bar.trade_count == 3


def test_bar_takes_prices_numpy_and_plain_numbers_alike() -> None:
    expected = make_bar(open=10.5)
    assert make_bar(open=Price(10.5)) == expected
    assert make_bar(open=np.float64(10.5), volume=np.float64(100.0)) == expected


def test_a_bar_is_a_minute_without_trade_count_and_vwap_by_default() -> None:
    bar = make_bar()
    assert (bar.trade_count, bar.vwap, bar.timeframe) == (None, None, Timeframe.MINUTE_1)


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"high": 10.5}, ["high_is_highest"]),
        ({"low": 10.5}, ["low_is_lowest"]),
        ({"high": 8.5}, ["high_is_highest", "low_is_lowest"]),
        ({"low": 12.5}, ["high_is_highest", "low_is_lowest"]),
        ({"open": 13}, ["high_is_highest"]),
        ({"close": 8}, ["low_is_lowest"]),
        ({"volume": -1}, ["volume_not_negative"]),
        ({"volume": math.nan}, ["volume_not_negative"]),
        ({"volume": "Infinity"}, ["volume_not_negative"]),
        ({"volume": "1e400"}, ["volume_not_negative"]),
        ({"trade_count": -1}, ["trade_count_not_negative"]),
        ({"vwap": -0.01}, ["vwap_not_negative"]),
        ({"vwap": math.nan}, ["vwap_not_negative"]),
        ({"vwap": math.inf}, ["vwap_not_negative"]),
        ({"high": "1e400"}, ["prices_finite"]),
        ({"low": "1e-400"}, ["prices_positive"]),
        (
            {"volume": -1, "trade_count": -1, "high": 10.5},
            ["high_is_highest", "volume_not_negative", "trade_count_not_negative"],
        ),
    ],
)
def test_bar_that_breaks_invariants_is_refused_by_their_names(changes: dict[str, Any], broken: list[str]) -> None:
    assert refusal(**changes) == broken


@pytest.mark.parametrize("price", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_no_price_of_a_bar_may_be_zero_negative_or_infinite(price: str, value: float) -> None:
    with pytest.raises(ValidationError, match="a price is positive and finite"):
        make_bar(**{price: value})


@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [None, "", "many", Decimal("sNaN")])
def test_what_is_no_number_is_refused_in_every_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match="is not a number"):
        make_bar(**{field: value})


def test_a_bar_without_trades_may_exist() -> None:
    bar = make_bar(open=9, high=9, low=9, close=9, volume=0, trade_count=0, vwap=0)
    assert bar.record()["vwap"] == 0.0


@given(PRICES, PRICES, PRICES, PRICES)
def test_a_bar_exists_exactly_if_high_and_low_bound_its_prices(
    opening: float, high: float, low: float, close: float
) -> None:
    numbers = {"open": opening, "high": high, "low": low, "close": close}
    if low <= min(opening, close) and max(opening, close) <= high:
        assert make_bar(**numbers).high == Price(high)
    else:
        assert set(refusal(**numbers)) <= {"high_is_highest", "low_is_lowest"}


@given(st.one_of(st.floats(), st.integers(-3, 3)), st.one_of(st.none(), st.floats()))
def test_a_bar_exists_exactly_if_volume_and_vwap_are_finite_and_not_negative(volume: float, vwap: float | None) -> None:
    sound = math.isfinite(volume) and volume >= 0 and (vwap is None or (math.isfinite(vwap) and vwap >= 0))
    if sound:
        assert make_bar(volume=volume, vwap=vwap).record()["volume"] == volume
    else:
        assert set(refusal(volume=volume, vwap=vwap)) <= {"volume_not_negative", "vwap_not_negative"}


def test_changing_a_bar_checks_it_again() -> None:
    bar = make_bar()
    assert evolve(bar, close=Price(9)).close == Price(9)
    with pytest.raises(ValidationError, match="low_is_lowest"):
        evolve(bar, close=Price(8))


def test_bar_belongs_to_the_new_york_date_of_its_left_edge() -> None:
    last_minute_of_a_winter_day = Timestamp.parse("2024-01-03T00:59:00Z")
    assert make_bar(timestamp=last_minute_of_a_winter_day).trading_date == TradingDate.parse("2024-01-02")


def test_record_has_the_fields_that_predicates_read() -> None:
    assert make_bar(trade_count=3, vwap="10.25").record() == {
        "timestamp": 1_704_205_800_000_000,
        "open": 10.0,
        "high": 12.0,
        "low": 9.0,
        "close": 11.0,
        "volume": 100.0,
        "trade_count": 3,
        "vwap": 10.25,
    }


@given(st.floats(0.01, 1000.0), st.floats(0.01, 1000.0), st.floats(0.0, 1e12))
def test_record_gives_the_floats_that_came_in(low: float, high: float, volume: float) -> None:
    assume(low <= high)
    record = make_bar(open=low, high=high, low=low, close=high, volume=volume).record()
    assert (record["low"], record["high"], record["volume"]) == (low, high, volume)


def test_invariants_are_these() -> None:
    assert list(INVARIANTS) == [
        "prices_finite",
        "prices_positive",
        "high_is_highest",
        "low_is_lowest",
        "volume_not_negative",
        "trade_count_not_negative",
        "vwap_not_negative",
    ]
