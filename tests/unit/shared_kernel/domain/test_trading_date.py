from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, TradingDate, as_trading_date


def nth_sunday(year: int, month: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


def new_york_date_by_the_law(moment: datetime) -> date:
    """Energy Policy Act of 2005: summer time from the second Sunday of March to the first Sunday of November."""
    begins = datetime.combine(nth_sunday(moment.year, 3, 2), time(7), UTC)
    ends = datetime.combine(nth_sunday(moment.year, 11, 1), time(6), UTC)
    return (moment - timedelta(hours=4 if begins <= moment < ends else 5)).date()


@given(
    st.integers(0, 30 * 365 * 86_400 - 1).map(
        lambda seconds: datetime(2007, 1, 2, tzinfo=UTC) + timedelta(seconds=seconds)
    )
)
@example(datetime(2024, 3, 10, 4, 59, 59, 999999, tzinfo=UTC))
@example(datetime(2024, 3, 11, 4, 0, tzinfo=UTC))
@example(datetime(2024, 11, 3, 3, 59, 59, 999999, tzinfo=UTC))
@example(datetime(2024, 11, 4, 4, 59, 59, 999999, tzinfo=UTC))
def test_trading_date_is_the_new_york_date_in_summer_and_winter(moment: datetime) -> None:
    assert TradingDate.of(Timestamp(moment)).day == new_york_date_by_the_law(moment)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2024-01-03T00:59:00Z", "2024-01-02"),  # 19:59 in winter, the last minute of the extended session
        ("2024-07-02T23:59:00Z", "2024-07-02"),  # 19:59 in summer
        ("2024-01-02T09:00:00Z", "2024-01-02"),  # 04:00 in winter
        ("2024-01-03T04:59:59.999999Z", "2024-01-02"),
        ("2024-01-03T05:00:00Z", "2024-01-03"),
        ("2024-07-03T03:59:59.999999Z", "2024-07-02"),
        ("2024-07-03T04:00:00Z", "2024-07-03"),
        ("2024-12-31T23:59:59Z", "2024-12-31"),
        ("2025-01-01T04:59:59Z", "2024-12-31"),
    ],
)
def test_trading_date_is_never_the_utc_date(moment: str, day: str) -> None:
    assert str(TradingDate.of(Timestamp.parse(moment))) == day


@pytest.mark.parametrize(
    ("day", "wall", "moment"),
    [
        ("2024-01-02", time(9, 30), "2024-01-02T14:30:00Z"),
        ("2024-07-02", time(9, 30), "2024-07-02T13:30:00Z"),
        ("2024-01-02", time(19, 59), "2024-01-03T00:59:00Z"),
        ("2024-03-08", time(4), "2024-03-08T09:00:00Z"),
        ("2024-03-11", time(4), "2024-03-11T08:00:00Z"),
        ("2024-11-01", time(20), "2024-11-02T00:00:00Z"),
        ("2024-11-04", time(20), "2024-11-05T01:00:00Z"),
    ],
)
def test_at_uses_the_wall_clock_of_new_york(day: str, wall: time, moment: str) -> None:
    assert str(TradingDate.parse(day).at(wall)) == moment


@pytest.mark.parametrize(
    ("day", "hours"), [("2024-03-09", 24), ("2024-03-10", 23), ("2024-03-11", 24), ("2024-11-03", 25)]
)
def test_midnights_are_23_24_or_25_hours_apart(day: str, hours: int) -> None:
    trading_date = TradingDate.parse(day)
    assert trading_date.midnight.plus(timedelta(hours=hours)) == trading_date.plus_days(1).midnight


@given(st.dates(min_value=date(1884, 1, 1), max_value=date(9998, 1, 1)), st.times(min_value=time(4)))
def test_any_minute_of_a_session_belongs_to_its_own_trading_date(day: date, wall: time) -> None:
    trading_date = TradingDate(day)
    assert TradingDate.of(trading_date.at(wall)) == trading_date
    assert TradingDate.of(trading_date.midnight) == trading_date
    assert TradingDate.of(trading_date.midnight.plus(timedelta(microseconds=-1))) == trading_date.plus_days(-1)


@given(st.dates())
def test_parse_reads_what_str_writes(day: date) -> None:
    assert TradingDate.parse(str(TradingDate(day))) == TradingDate(day)


@pytest.mark.parametrize(
    "text",
    [
        *("", "today", "20240102", "2024-1-2", "2024-01-02T00:00", " 2024-01-02", "2024-01-02\n", "2024/01/02"),
        *("2024-W01-1", "2024-002", "02.01.2024", "２０２４-01-02", "-024-01-02"),
    ],
)
def test_parse_refuses_any_other_way_to_write_a_date(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a date written YYYY-MM-DD"):
        TradingDate.parse(text)


@pytest.mark.parametrize("text", ["2024-02-30", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "0000-01-01"])
def test_parse_refuses_dates_the_calendar_does_not_have(text: str) -> None:
    with pytest.raises(ValidationError, match=f"'{text}' is not a date of the calendar"):
        TradingDate.parse(text)


@pytest.mark.parametrize("value", [datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02", 20240102, None, time(4)])
def test_trading_date_refuses_what_is_no_plain_date(value: Any) -> None:
    with pytest.raises(ValidationError, match="a trading date is a date without a time"):
        TradingDate(value)


@pytest.mark.parametrize(
    "value",
    [
        *("2024-01-02", date(2024, 1, 2), TradingDate(date(2024, 1, 2))),
        *(datetime.fromisoformat("2024-01-02"), datetime.fromisoformat("2024-01-02T00:00-05:00")),
        datetime(2024, 1, 2, tzinfo=NEW_YORK),
        *(pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-02", tz="America/New_York")),
        *(np.datetime64("2024-01-02"), np.datetime64("2024-01-02T00:00"), np.datetime64("2024-01-02", "ns")),
    ],
)
def test_as_trading_date_takes_text_dates_midnights_and_itself(value: Any) -> None:
    assert as_trading_date(value) == TradingDate(date(2024, 1, 2))


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 2, tzinfo=UTC),
        datetime.fromisoformat("2024-01-02T09:30"),
        datetime(2024, 1, 2, 5, tzinfo=UTC),
        datetime.fromisoformat("2024-07-02T00:00-05:00"),
        pd.Timestamp("2024-01-02 00:00:00.000000001"),
        pd.Timestamp("2024-01-02", tz="Europe/Zurich"),
        pd.NaT,
        np.datetime64("2024-01-02T09:30"),
        np.datetime64("NaT"),
    ],
)
def test_as_trading_date_refuses_other_moments_and_names_what_to_give(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"is not a trading date: give YYYY-MM-DD, a date, or a midnight"):
        as_trading_date(value)


@pytest.mark.parametrize("value", [None, 20240102, True, 1.5, np.datetime64("2024-01"), np.int64(5), ["2024-01-02"]])
def test_as_trading_date_refuses_the_rest(value: Any) -> None:
    with pytest.raises(ValidationError):
        as_trading_date(value)


@pytest.mark.parametrize(("day", "days"), [("9999-12-31", 1), ("0001-01-01", -1), ("2024-01-02", 10**9)])
def test_plus_days_refuses_to_leave_the_calendar(day: str, days: int) -> None:
    with pytest.raises(ValidationError, match="outside the supported dates"):
        TradingDate.parse(day).plus_days(days)


def test_trading_dates_are_ordered_hashable_and_shown_as_iso() -> None:
    first, second = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-03")
    assert first < second == first.plus_days(1)
    assert {first, TradingDate(date(2024, 1, 2))} == {first}
    assert repr(first) == "TradingDate('2024-01-02')"
