from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import INVARIANTS, OHLCVBar
from marketpipe.shared_kernel.domain.predicate import Record, holds
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.support.bar_strategies import good_records, plausible_records, records
from tests.support.examples import examples

AT = Timestamp.parse("2024-01-02T14:30:00Z")
NUMBERS = ("open", "high", "low", "close", "volume", "trade_count", "vwap")
PRICES = NUMBERS[:4]
GOOD: Record = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0, "volume": 10.0, "trade_count": 4, "vwap": 2.0}


def _bar(record: Record) -> OHLCVBar:
    numbers: dict[str, Any] = {name: record[name] for name in NUMBERS}
    return OHLCVBar(Symbol("AAPL"), AT, **numbers)


def _broken(record: Record) -> list[str]:
    return [name for name, invariant in INVARIANTS.items() if not holds(invariant, record)]


def _can_be_a_bar(record: Record) -> bool:
    try:
        _bar(record)
    except ValidationError:
        return False
    return True


@examples(300)
@given(plausible_records() | records())
def test_a_bar_exists_exactly_when_every_invariant_holds_of_its_record(record: Record) -> None:
    assert _can_be_a_bar(record) == (not _broken(record))


@examples(200)
@given(good_records())
def test_a_bar_gives_back_the_record_it_was_made_of(record: Record) -> None:
    expected = {name: record[name] for name in NUMBERS} | {"timestamp": AT.epoch_micros}
    assert _bar(record).record() == expected


@examples(200)
@given(plausible_records())
def test_the_error_names_every_invariant_that_does_not_hold(record: Record) -> None:
    """Of prices that are prices: others are refused one by one before they can be compared."""
    prices = {name: abs(float(record[name] or 1)) for name in PRICES}
    priced = {**record, **{name: price if math.isfinite(price) else 1.0 for name, price in prices.items()}}
    broken = _broken(priced)
    if not broken:
        assert _bar(priced).record()["high"] == priced["high"]
        return
    with pytest.raises(ValidationError) as error:
        _bar(priced)
    assert str(error.value) == f"not an OHLCV bar: AAPL 2024-01-02T14:30:00Z: {', '.join(broken)}"


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"volume": 0.0, "trade_count": 0, "vwap": 0.0}, []),
        ({"volume": -0.0, "vwap": -0.0}, []),
        ({"volume": 0.5, "trade_count": None, "vwap": None}, []),
        ({"open": 2.0, "high": 2.0, "low": 2.0, "close": 2.0}, []),
        ({"vwap": 1e9}, []),
        ({"high": math.inf}, ["prices_finite"]),
        ({"open": None}, ["prices_finite", "prices_positive", "high_is_highest", "low_is_lowest"]),
        ({"open": math.nan}, ["prices_finite", "prices_positive", "high_is_highest", "low_is_lowest"]),
        ({"low": 0.0}, ["prices_positive"]),
        ({"low": -0.0}, ["prices_positive"]),
        ({"open": 3.5}, ["high_is_highest"]),
        ({"close": 0.5}, ["low_is_lowest"]),
        ({"high": 1.5}, ["high_is_highest"]),
        ({"low": 2.5}, ["low_is_lowest"]),
        ({"high": 0.5}, ["high_is_highest", "low_is_lowest"]),
        ({"low": 3.5}, ["high_is_highest", "low_is_lowest"]),
        ({"volume": -1.0}, ["volume_not_negative"]),
        ({"volume": None}, ["volume_not_negative"]),
        ({"volume": math.inf}, ["volume_not_negative"]),
        ({"trade_count": -1}, ["trade_count_not_negative"]),
        ({"vwap": -0.01}, ["vwap_not_negative"]),
        ({"vwap": math.nan}, ["vwap_not_negative"]),
        ({"vwap": math.inf}, ["vwap_not_negative"]),
    ],
)
def test_what_each_invariant_demands(changes: Record, broken: list[str]) -> None:
    record = {**GOOD, **changes}
    assert _broken(record) == broken
    assert _can_be_a_bar(record) == (not broken)


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"open": "1e400", "high": "1e400"}, "prices_finite"),
        ({"low": "1e-400"}, "prices_positive"),
        ({"volume": "1e400"}, "volume_not_negative"),
        ({"vwap": 10**400}, "vwap_not_negative"),
    ],
)
def test_a_number_too_large_for_a_double_makes_no_bar(changes: Record, broken: str) -> None:
    with pytest.raises(ValidationError, match=f": {broken}"):
        _bar({**GOOD, **changes})
