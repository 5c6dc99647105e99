"""A market answers the same whenever it is asked for the same moment, and each change does what its name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.simulation.answers import MINUTE, Minutes
from tests.simulation.changes import CHANGES
from tests.simulation.exchange import session_of
from tests.simulation.market import Market
from tests.simulation.story import Step, Story, SymbolTraits, Traits

DATE = "2024-03-05"
DAY = TradingDate.parse(DATE)
EVENING = Timestamp.parse("2024-03-06T02:00:00Z")
LATER = Timestamp.parse("2024-03-08T02:00:00Z")
SYMBOLS = (SymbolTraits("AAA"), SymbolTraits("BBB", 5, listed=DATE, price=20.0))


def market(**traits: Any) -> Market:
    return Market(Story(1, Traits(**traits), SYMBOLS))


def changed(kind: str, **what: Any) -> Market:
    found = market()
    found.change(Step(3, "2024-03-07T12:00:00Z", kind, {"symbol": "AAA", "date": DATE, **what}))
    return found


def same(one: Minutes, other: Minutes) -> bool:
    return [*one.rows()] == [*other.rows()]


def test_a_day_is_the_same_each_time_and_agrees_with_its_official_day() -> None:
    minutes, official = market().minutes("AAA", DAY, EVENING), market().official("AAA", DAY, EVENING)
    session = session_of(DAY)
    assert same(minutes, market().minutes("AAA", DAY, LATER))
    assert official is not None
    assert session is not None
    assert 26 < len(minutes) < 50
    assert (np.diff(minutes.times) > 0).all()
    assert (minutes.lows <= np.minimum(minutes.opens, minutes.closes)).all()
    assert (minutes.highs >= np.maximum(minutes.opens, minutes.closes)).all()
    assert ((minutes.lows <= minutes.vwaps) & (minutes.vwaps <= minutes.highs)).all()
    assert official.volume == minutes.volumes.sum()
    assert official.close == minutes.opens[minutes.times == session.closes.epoch_micros][0]


def test_bars_come_when_they_have_ended_and_the_official_day_after_the_close() -> None:
    noon = Timestamp.parse("2024-03-05T17:00:00Z")
    minutes = market().minutes("AAA", DAY, noon)
    assert 0 < len(minutes) < len(market().minutes("AAA", DAY, EVENING))
    assert minutes.times[-1] + MINUTE <= noon.epoch_micros
    assert market().official("AAA", DAY, noon) is None


def test_nothing_is_there_before_a_symbol_is_listed_on_a_holiday_and_of_strangers() -> None:
    assert not len(market().minutes("BBB", TradingDate.parse("2024-03-04"), LATER))
    assert len(market().minutes("BBB", DAY, LATER))
    assert not len(market().minutes("AAA", TradingDate.parse("2024-03-09"), LATER))
    assert not len(market().minutes("ZZZ", DAY, LATER))
    assert market().official("BBB", TradingDate.parse("2024-03-04"), LATER) is None


CASES: dict[str, dict[str, Any]] = {
    "halted": {"minute": 0, "minutes": 60},
    "halted all day": {"official": True},
    "thin day": {"every": 3},
    "split": {"ratio": 2},
    "corrected": {"bars": 2},
    "bars lacking": {"bars": 2},
    "day lacking": {"official": False},
    "bars rejected": {"bars": 2},
    "bars withheld": {"how": "late"},
    "outage": {"minute": 0, "minutes": 60},
    "scaled": {"factor": 10},
    "bars of another": {"of": "BBB"},
    "official close": {"factor": 1.1},
    "official volume": {"factor": 2},
    "renamed": {"to": "BBB"},
}


@pytest.mark.parametrize("kind", [kind for kind in CHANGES if kind != "listed"])
def test_a_change_is_known_from_its_moment_on_and_never_before(kind: str) -> None:
    new, old = changed(kind, **CASES.get(kind, {})), market()
    assert same(new.minutes("AAA", DAY, EVENING), old.minutes("AAA", DAY, EVENING))
    assert new.official("AAA", DAY, EVENING) == old.official("AAA", DAY, EVENING)
    keeps_minutes = same(new.minutes("AAA", DAY, LATER), old.minutes("AAA", DAY, LATER))
    keeps_day = new.official("AAA", DAY, LATER) == old.official("AAA", DAY, LATER)
    assert not (keeps_minutes and keeps_day)


@pytest.mark.parametrize("kind", ["corrected", "bars lacking", "bars rejected", "outage", "scaled", "day repeated"])
def test_what_a_provider_gets_wrong_leaves_the_official_day_as_it_was(kind: str) -> None:
    assert changed(kind, **CASES.get(kind, {})).official("AAA", DAY, LATER) == market().official("AAA", DAY, LATER)


def test_what_is_late_comes() -> None:
    late = changed("bars lacking", bars=3, until="2024-03-08T00:00:00Z")
    between = Timestamp.parse("2024-03-07T20:00:00Z")
    assert len(late.minutes("AAA", DAY, between)) == len(late.minutes("AAA", DAY, LATER)) - 3


def test_a_split_changes_adjusted_prices_of_all_dates_and_raw_ones_only_from_its_date_on() -> None:
    before = TradingDate.parse("2024-03-04")
    for adjustment, factor in (("raw", 1.0), ("split", 0.5)):
        found = market(adjustment=adjustment)
        usual = found.minutes("AAA", before, LATER).opens
        found.change(Step(1, "2024-03-05T12:00:00Z", "split", {"symbol": "AAA", "date": DATE, "ratio": 2}))
        assert np.allclose(found.minutes("AAA", before, LATER).opens, usual * factor)
        assert found.minutes("AAA", DAY, LATER).opens[0] < 60


def test_a_symbol_is_listed_from_a_date_on() -> None:
    found = changed("listed")
    assert not len(found.minutes("AAA", TradingDate.parse("2024-03-04"), LATER))
    assert len(found.minutes("AAA", DAY, LATER))
