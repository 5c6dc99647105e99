"""A day made from minutes closes with its auction; all other buckets keep their bounds. See ADR 0021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
from marketpipe.testing import bar, bar_table
from tests.support.builders import CALENDAR
from tests.support.store_on_disk import AGGREGATED

Row = dict[str, Any]
SESSIONS = [
    ("2024-03-08", "20:59", "21:00"),
    ("2024-03-11", "19:59", "20:00"),
    ("2024-07-03", "16:59", "17:00"),
    ("2023-11-24", "17:59", "18:00"),
]
"""On winter and on summer time, and half days: the last regular minute and the auction's minute in UTC."""


def made(date: str, rows: Sequence[Row], timeframe: Timeframe, closing_auction: int | None) -> list[Row]:
    month = MonthPartition(Symbol("XOM"), *map(int, date.split("-")[:2]))
    aggregator = BarAggregator(CALENDAR, closing_auction)
    found: list[Row] = aggregator.aggregate({month: bar_table(rows)}, [timeframe])[month][timeframe].to_pylist()
    return found


def session(date: str, last: str, auction: str) -> list[Row]:
    """Two regular minutes, then an auction at 108.86 with 20 million shares, amid prices of the late hours."""
    return [
        bar(f"{date}T15:00:00Z", 110.0, volume=2000.0, vwap=110.0),
        bar(f"{date}T{last}:00Z", 109.5, close=109.57, high=109.6, low=109.4, volume=1000.0, vwap=109.5),
        bar(f"{date}T{auction}:00Z", 108.86, high=140.0, low=80.0, close=112.0, volume=20e6, vwap=108.9),
        bar(f"{date}T{auction[:3]}01:00Z", 150.0),
    ]


@pytest.mark.parametrize(("date", "last", "auction"), SESSIONS)
def test_the_close_of_a_day_is_the_first_price_of_the_auctions_minute(date: str, last: str, auction: str) -> None:
    (day,) = made(date, session(date, last, auction), Timeframe.DAY_1, 0)

    assert (day["open"], day["high"], day["low"], day["close"]) == (110.0, 111.0, 108.86, 108.86)
    assert (day["volume"], day["trade_count"]) == (20_003_000.0, 30)
    assert day["vwap"] == pytest.approx((110.0 * 2000 + 109.5 * 1000 + 108.9 * 20e6) / 20_003_000)


@pytest.mark.parametrize(("date", "last", "auction"), SESSIONS)
def test_a_day_of_a_provider_that_declares_no_auction_ends_with_the_regular_session(
    date: str, last: str, auction: str
) -> None:
    (day,) = made(date, session(date, last, auction), Timeframe.DAY_1, None)

    assert (day["high"], day["low"], day["close"], day["volume"]) == (111.0, 109.0, 109.57, 3000.0)


@pytest.mark.parametrize("closing_auction", [0, None])
@pytest.mark.parametrize(("date", "last", "auction"), SESSIONS)
def test_a_day_without_a_minute_at_the_close_closes_with_its_last_regular_price(
    date: str, last: str, auction: str, closing_auction: int | None
) -> None:
    regular, late = session(date, last, auction)[:2], session(date, last, auction)[3:]

    (day,) = made(date, regular + late, Timeframe.DAY_1, closing_auction)

    assert (day["close"], day["volume"]) == (109.57, 3000.0)


def test_an_auction_above_all_other_prices_is_the_high() -> None:
    rows = [bar("2024-03-08T15:00:00Z", 10.0), bar("2024-03-08T21:00:00Z", 12.5)]

    (day,) = made("2024-03-08", rows, Timeframe.DAY_1, 0)

    assert (day["open"], day["high"], day["low"], day["close"]) == (10.0, 12.5, 9.0, 12.5)


def test_the_auction_alone_makes_a_day() -> None:
    (day,) = made("2024-03-08", [bar("2024-03-08T21:00:00Z", 12.5, volume=7.0)], Timeframe.DAY_1, 0)

    assert [day[name] for name in ("open", "high", "low", "close", "volume")] == [12.5, 12.5, 12.5, 12.5, 7.0]


def test_an_auction_may_be_some_minutes_after_the_close() -> None:
    rows = [bar("2024-03-08T20:59:00Z", 10.0), bar("2024-03-08T21:00:00Z", 30.0), bar("2024-03-08T21:05:00Z", 10.75)]

    (day,) = made("2024-03-08", rows, Timeframe.DAY_1, 5)

    assert (day["high"], day["close"], day["volume"]) == (11.0, 10.75, 2000.0)


@pytest.mark.parametrize("timeframe", [each for each in AGGREGATED if each.is_intraday])
@pytest.mark.parametrize(("date", "last", "auction"), SESSIONS)
def test_intraday_bars_do_not_depend_on_where_the_auction_is(
    date: str, last: str, auction: str, timeframe: Timeframe
) -> None:
    rows = session(date, last, auction)[:3]
    found = made(date, rows, timeframe, 0)

    assert found == made(date, rows, timeframe, None)
    assert [(f"{each['timestamp']:%H:%M}", each["volume"]) for each in found][-1] == (auction, 20e6)
    assert [each["volume"] for each in made(date, rows[:2], timeframe, 0)] == [each["volume"] for each in found[:-1]]


@pytest.mark.parametrize(("date", "last", "auction"), SESSIONS)
def test_minutes_out_of_order_and_outside_of_every_session_give_the_same_day(
    date: str, last: str, auction: str
) -> None:
    within = session(date, last, auction)
    early, holiday = bar(f"{date}T07:59:00Z", 1.0), bar("2024-01-01T15:00:00Z", 900.0)

    for rows in ([early, *within], [*reversed(within), holiday]):
        assert made(date, rows, Timeframe.DAY_1, 0) == made(date, within, Timeframe.DAY_1, 0)


def test_both_bars_of_an_auctions_minute_count() -> None:
    auction = bar("2024-03-11T20:00:00Z", 108.0, volume=5.0, trade_count=1, vwap=108.0)
    rows = [bar("2024-03-11T15:00:00Z", 110.0, volume=1.0, trade_count=1, vwap=110.0), auction, auction]

    (day,) = made("2024-03-11", rows, Timeframe.DAY_1, 0)

    assert (day["volume"], day["trade_count"], day["close"]) == (11.0, 3, 108.0)
