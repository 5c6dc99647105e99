from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import EARLIEST
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date

IN_2090 = Timestamp.parse("2090-12-31T23:59:59.999999Z").epoch_micros
MICROS = st.integers(0, IN_2090)
DAY = 86_400_000_000


def column_dates(*micros: int) -> list[TradingDate]:
    return [trading_date(int(number)) for number in day_numbers(np.array(micros, np.int64))]


def object_dates(*micros: int) -> list[TradingDate]:
    return [TradingDate.of(Timestamp.from_epoch_micros(stamp)) for stamp in micros]


@given(MICROS)
@example(0)
@example(5 * 3_600_000_000 - 1)
@example(5 * 3_600_000_000)
@example(IN_2090)
def test_column_agrees_with_trading_date_of_any_timestamp(micros: int) -> None:
    assert column_dates(micros) == object_dates(micros)


@given(st.dates(date(1970, 1, 1), date(2090, 12, 31)), st.integers(-2, 2))
def test_column_agrees_around_every_new_york_midnight(day: date, offset: int) -> None:
    micros = TradingDate(day).midnight.epoch_micros + offset
    assert column_dates(micros) == object_dates(micros)


@pytest.mark.parametrize("sunday", ["1974-01-06", "2006-10-29", "2007-03-11", "2024-03-10", "2024-11-03", "2090-03-12"])
def test_column_agrees_in_every_minute_around_a_change_of_clocks(sunday: str) -> None:
    start = TradingDate.parse(sunday).plus_days(-1).midnight.epoch_micros
    stamps = range(start, start + 3 * DAY, 60_000_000)
    assert column_dates(*stamps) == object_dates(*stamps)


@given(st.lists(MICROS, min_size=2, max_size=50))
def test_ascending_timestamps_give_ascending_numbers(micros: list[int]) -> None:
    numbers = day_numbers(np.array(sorted(micros), np.int64))
    assert (np.diff(numbers) >= 0).all()


@given(st.dates(date(1970, 1, 1), date(2090, 12, 31)))
def test_neighbouring_days_have_neighbouring_numbers(day: date) -> None:
    today, tomorrow = TradingDate(day), TradingDate(day + timedelta(days=1))
    number, following = day_numbers(np.array([today.midnight.epoch_micros, tomorrow.midnight.epoch_micros]))
    assert following - number == 1
    assert trading_date(int(number)) == today


def test_no_timestamps_give_no_numbers() -> None:
    assert column_dates() == []


@pytest.mark.parametrize("micros", [-1, -DAY, -(2**63)])
def test_timestamps_before_1970_get_a_day_outside_every_range(micros: int) -> None:
    assert column_dates(micros)[0].day < EARLIEST


@pytest.mark.parametrize("text", ["2101-01-01T12:00:00Z", "9999-12-31T23:59:59Z"])
def test_timestamps_of_the_far_future_fall_on_a_far_day(text: str) -> None:
    assert column_dates(Timestamp.parse(text).epoch_micros)[0].day > date(2099, 12, 31)
