from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar
from tests.support.builders import CALENDAR

FIRST, LAST = TradingDate.parse("1980-01-01"), TradingDate.parse("2026-12-31")
DATES = st.dates(date(2011, 12, 1), date(2013, 1, 31)).map(TradingDate)
ONE_OFF_CLOSURES = ["2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2004-06-11", "2007-01-02"]
ONE_OFF_CLOSURES += ["2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"]
HOLIDAYS = ["2024-01-01", "2024-01-15", "2024-02-19", "2024-03-29", "2024-05-27", "2024-06-19", "2024-07-04"]
HOLIDAYS += ["2024-09-02", "2024-11-28", "2024-12-25", "2022-06-20", "2021-12-24", "2021-07-05"]
OPEN_AFTER_ALL = ["2021-12-31", "2021-06-18", "2001-09-10", "2001-09-17", "2012-10-31", "2024-10-14", "2024-11-11"]


def sessions(first: str, last: str) -> tuple[TradingSession, ...]:
    return CALENDAR.sessions(TradingDate.parse(first), TradingDate.parse(last))


def dates(first: str, last: str) -> list[str]:
    return [str(session.trading_date) for session in sessions(first, last)]


def hours(day: str) -> tuple[str, str]:
    (session,) = sessions(day, day)
    return str(session.opens), str(session.closes)


def test_a_week_has_its_sessions_ascending_both_ends_included() -> None:
    assert dates("2024-11-25", "2024-12-02") == [
        *("2024-11-25", "2024-11-26", "2024-11-27", "2024-11-29", "2024-12-02"),
    ]


@pytest.mark.parametrize("day", [*ONE_OFF_CLOSURES, *HOLIDAYS])
def test_exchange_is_closed_on_holidays_and_one_off_closures(day: str) -> None:
    assert dates(day, day) == []


@pytest.mark.parametrize("day", OPEN_AFTER_ALL)
def test_exchange_is_open_on_days_that_look_like_holidays(day: str) -> None:
    assert dates(day, day) == [day]


def test_closures_of_2001_and_2012_leave_gaps_in_their_weeks() -> None:
    assert dates("2001-09-10", "2001-09-17") == ["2001-09-10", "2001-09-17"]
    assert dates("2012-10-26", "2012-11-01") == ["2012-10-26", "2012-10-31", "2012-11-01"]


@pytest.mark.parametrize(
    ("year", "count"),
    [
        *((1980, 253), (2001, 248), (2012, 250), (2018, 251), (2020, 253)),
        *((2021, 252), (2022, 251), (2023, 250), (2024, 252), (2025, 250)),
    ],
)
def test_a_year_has_as_many_sessions_as_the_exchange_had(year: int, count: int) -> None:
    assert len(dates(f"{year}-01-01", f"{year}-12-31")) == count


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        ("2024-01-02", "2024-01-02T14:30:00Z", "2024-01-02T21:00:00Z"),
        ("2024-07-02", "2024-07-02T13:30:00Z", "2024-07-02T20:00:00Z"),
        ("2024-07-03", "2024-07-03T13:30:00Z", "2024-07-03T17:00:00Z"),
        ("2024-11-29", "2024-11-29T14:30:00Z", "2024-11-29T18:00:00Z"),
        ("2024-12-24", "2024-12-24T14:30:00Z", "2024-12-24T18:00:00Z"),
        ("2023-07-03", "2023-07-03T13:30:00Z", "2023-07-03T17:00:00Z"),
    ],
)
def test_session_opens_and_closes_by_new_york_time_half_days_at_one(day: str, opens: str, closes: str) -> None:
    assert hours(day) == (opens, closes)


@pytest.mark.parametrize(
    ("friday", "monday", "before", "after"),
    [("2024-03-08", "2024-03-11", "14:30", "13:30"), ("2024-11-01", "2024-11-04", "13:30", "14:30")],
)
def test_opening_moves_in_utc_over_a_weekend_of_daylight_saving(
    friday: str, monday: str, before: str, after: str
) -> None:
    assert hours(friday)[0] == f"{friday}T{before}:00Z"
    assert hours(monday)[0] == f"{monday}T{after}:00Z"
    assert dates(friday, monday) == [friday, monday]


@pytest.mark.parametrize(
    ("first", "last"),
    [("2024-01-06", "2024-01-06"), ("2024-01-06", "2024-01-07"), ("2001-09-11", "2001-09-16"), ("1980-01-01",) * 2],
)
def test_range_without_any_session_is_empty(first: str, last: str) -> None:
    assert sessions(first, last) == ()


@pytest.mark.parametrize(
    ("first", "last"), [("2024-01-03", "2024-01-02"), ("2030-01-02", "2024-01-02"), ("2024-01-02", "1900-01-01")]
)
def test_last_before_first_is_an_empty_range(first: str, last: str) -> None:
    assert sessions(first, last) == ()


@pytest.mark.parametrize(
    ("first", "last"),
    [("1979-12-31", "1980-01-31"), ("2026-12-31", "2027-01-01"), ("0001-01-01", "9999-12-31"), ("2027-01-01",) * 2],
)
def test_dates_outside_the_calendar_are_refused(first: str, last: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        sessions(first, last)
    assert str(refusal.value) == (
        f"the trading calendar covers 1980-01-01 to 2026-12-31; {first} to {last} is not inside it"
    )


def test_calendar_reaches_its_first_and_latest_date() -> None:
    reach = dates("1980-01-01", "2026-12-31")
    assert (reach[0], reach[-1]) == ("1980-01-02", "2026-12-31")


def test_latest_may_be_a_day_without_session() -> None:
    calendar = ExchangeCalendar(latest=TradingDate.parse("2024-01-06"))
    found = calendar.sessions(TradingDate.parse("2024-01-05"), TradingDate.parse("2024-01-06"))
    assert [str(session.trading_date) for session in found] == ["2024-01-05"]
    with pytest.raises(ConfigurationError):
        calendar.sessions(TradingDate.parse("2024-01-05"), TradingDate.parse("2024-01-07"))


def test_every_session_since_1980_is_on_a_weekday_and_on_its_own_trading_date() -> None:
    for session in CALENDAR.sessions(FIRST, LAST):
        assert session.trading_date.day.weekday() < 5
        assert TradingDate.of(session.opens) == TradingDate.of(session.closes) == session.trading_date
        assert type(session.opens.moment) is datetime
        length = session.closes.moment - session.opens.moment
        assert timedelta(hours=2) <= length <= timedelta(hours=6, minutes=30)


@given(DATES, DATES, DATES)
def test_sessions_of_a_range_are_those_of_its_two_parts(a: TradingDate, b: TradingDate, c: TradingDate) -> None:
    first, middle, last = sorted((a, b, c))
    before, after = CALENDAR.sessions(first, middle), CALENDAR.sessions(middle.plus_days(1), last)
    assert before + after == CALENDAR.sessions(first, last)
