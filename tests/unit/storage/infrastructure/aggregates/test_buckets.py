"""Bars of longer timeframes are those of DuckDB's SQL to the last bit, whatever the minutes are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, PRICES
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import SessionPartTable
from marketpipe.storage.infrastructure.aggregates.buckets import Buckets, made_of
from tests.support.builders import CALENDAR
from tests.support.examples import some
from tests.support.sql_cascade import made_by_sql

AGGREGATED = tuple(timeframe for timeframe in Timeframe if timeframe.is_aggregated)
MINUTE = 60_000_000
SESSIONS = CALENDAR.sessions(TradingDate.parse("2024-03-01"), TradingDate.parse("2024-03-28"))


def minutes_of_a_month(seed: int, kept: float, absent: float) -> pa.Table:
    """Return minutes of March 2024, around the clocks' change. ``absent`` trade counts and VWAPs are null."""
    random = np.random.default_rng(seed)
    times = np.concatenate([session.extended.start.epoch_micros + np.arange(960) * MINUTE for session in SESSIONS])
    times = times[random.random(len(times)) < kept]
    count = len(times)
    prices = random.lognormal(4, 0.3, (5, count))
    columns = [times, *prices[:4], random.lognormal(3, 2, count)]
    nulls = [random.random(count) < absent for _ in range(2)]
    trades = pa.array(random.integers(0, 10**6, count), mask=nulls[0])
    return pa.table([*columns, trades, pa.array(prices[4], mask=nulls[1])], BAR_SCHEMA.names).cast(BAR_SCHEMA)


@pytest.mark.parametrize("closing_auction", some([1, None, 0]))
@pytest.mark.parametrize(("kept", "absent"), [(1.0, 0.0), (0.3, 0.5), (0.01, 1.0), (0.0, 0.0)])
def test_the_bars_are_those_of_the_sql_to_the_last_bit(kept: float, absent: float, closing_auction: int | None) -> None:
    bars = minutes_of_a_month(7, kept, absent)
    parts = SessionPartTable.of(SESSIONS, closing_auction)
    minutes = parts.keyed(bars)
    auctions = parts.auctioned(minutes)

    made, expected = made_of(minutes, auctions, AGGREGATED), made_by_sql(minutes, auctions, AGGREGATED)

    assert list(made) == list(AGGREGATED)
    for timeframe, bars in made.items():
        assert bars.equals(expected[timeframe].rename_columns(BAR_SCHEMA.names).cast(BAR_SCHEMA)), timeframe


@pytest.mark.parametrize("absent", [0.0, 0.5])
def test_days_of_few_bars_beside_a_full_one_are_those_of_the_sql_to_the_last_bit(absent: float) -> None:
    bars = minutes_of_a_month(3, 1.0, absent)
    rows = [np.arange(960) + 960 * 4, *(960 * at + 30 * np.arange(1 + at) for at in range(len(SESSIONS)))]
    minutes = _keyed(bars.take(pa.array(np.unique(np.concatenate(rows)))))

    daily = (Timeframe.DAY_1,)
    made, expected = (make(minutes, minutes[:0], daily) for make in (made_of, made_by_sql))

    for timeframe, bars in made.items():
        assert bars.equals(expected[timeframe].rename_columns(BAR_SCHEMA.names).cast(BAR_SCHEMA)), timeframe


def test_one_full_day_among_many_of_few_bars_takes_little_memory() -> None:
    lengths = np.full(3000, 8)
    lengths[1500] = 960
    count = lengths.sum()
    columns = {name: np.ones(count) for name in (*PRICES, "volume", "vwap")}
    times = {"hours": np.repeat(np.arange(3000), lengths), "time": np.arange(count)}
    minutes = Buckets.of(pa.table(columns | times | {"trade_count": np.ones(count, np.int64)}))

    tracemalloc.start()
    merged = minutes.merged(minutes.hours)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert list(merged.sums[0]) == list(lengths)
    assert peak < 10_000_000, peak


def test_minutes_that_are_out_of_order_make_the_same_bars() -> None:
    minutes = _keyed(minutes_of_a_month(1, 0.2, 0.2))
    shuffled = minutes.take(pa.array(np.random.default_rng(2).permutation(len(minutes))))

    assert made_of(shuffled, minutes[:0], AGGREGATED) == made_of(minutes, minutes[:0], AGGREGATED)


def test_trade_counts_that_do_not_fit_are_refused() -> None:
    minutes = _keyed(minutes_of_a_month(1, 0.01, 0.0))
    huge = minutes.set_column(7, "trade_count", pa.array([2**62] * len(minutes)))

    with pytest.raises(OverflowError, match="64 bits"):
        made_of(huge, huge[:0], AGGREGATED)


def _keyed(bars: pa.Table) -> pa.Table:
    return SessionPartTable.of(SESSIONS).keyed(bars)
