from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.trading_date import TradedMinutes, TradingDate
from marketpipe.storage.infrastructure.parquet_files import traded_minutes, traded_minutes_of
from marketpipe.testing import sessions

MICROS = 60_000_000
DATES = ("2024-01-02", "2024-03-08", "2024-03-11", "2024-07-03", "2024-11-01", "2024-11-04", "1986-07-01")
"""Summer, winter, the weeks in which the clocks change, a half day, and years ago."""


@given(st.sampled_from(DATES), st.lists(st.integers(-100 * MICROS, 1060 * MICROS), unique=True, max_size=30))
def test_a_minute_is_traded_if_a_bar_is_in_it(date: str, offsets: list[int]) -> None:
    (session,) = sessions(date, date)
    four = session.extended.start.epoch_micros

    found = traded_minutes(session.trading_date, np.array([four + offset for offset in offsets], np.int64))

    minutes = {offset // MICROS for offset in offsets if 0 <= offset < 960 * MICROS}
    assert found == TradedMinutes.of(sum(1 << minute for minute in minutes))


@pytest.mark.parametrize("date", DATES)
def test_the_opening_of_the_regular_session_is_330_minutes_after_four(date: str) -> None:
    (session,) = sessions(date, date)
    last = session.opens.plus(timedelta(minutes=629))  # 19:59, also if the session ends earlier

    found = traded_minutes(session.trading_date, np.array([session.opens.epoch_micros, last.epoch_micros], np.int64))

    assert found == TradedMinutes.of(1 << 330 | 1 << 959)


def test_a_day_without_bars_has_no_minutes() -> None:
    assert traded_minutes(TradingDate.parse("2024-01-02"), np.empty(0, np.int64)) == TradedMinutes.of(0)


@given(st.lists(st.tuples(st.sampled_from(DATES), st.lists(st.integers(-5, 1000), max_size=5)), min_size=1, max_size=6))
def test_many_days_at_once_are_what_they_are_one_by_one(days: list[tuple[str, list[int]]]) -> None:
    dates = [TradingDate.parse(date) for date, _ in days]
    opens = [sessions(date, date)[0].extended.start.epoch_micros for date, _ in days]
    times = [np.array([start + n * MICROS for n in ns], np.int64) for start, (_, ns) in zip(opens, days, strict=True)]

    found = traded_minutes_of(dates, [len(some) for some in times], np.concatenate(times))

    assert found == [traded_minutes(date, some) for date, some in zip(dates, times, strict=True)]
