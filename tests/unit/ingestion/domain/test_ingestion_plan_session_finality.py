from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import CalendarException, SessionKind, TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar, exchange_table
from marketpipe.testing import sessions
from tests.support.builders import CALENDAR

EXTENDED, REGULAR = SessionKind.EXTENDED, SessionKind.REGULAR
NO_DELAY, QUARTER = SessionFinality(timedelta()), SessionFinality(timedelta(minutes=15))
WINTER_DAY = sessions("2024-01-02", "2024-01-02")[0]  # 09:00Z to 01:00Z, regular 14:30Z to 21:00Z
HALF_DAY = sessions("2024-07-03", "2024-07-03")[0]  # closes at 13:00 ET, 17:00Z
SUMMER_DAY = sessions("2024-07-02", "2024-07-02")[0]  # 08:00Z to 00:00Z


def at(text: str) -> Timestamp:
    return Timestamp.parse(text)


def test_a_session_that_has_not_begun_is_not_asked_for() -> None:
    assert NO_DELAY.ask(WINTER_DAY, EXTENDED, at("2024-01-02T08:59:59Z")) is None
    assert NO_DELAY.ask(WINTER_DAY, REGULAR, at("2024-01-02T14:29:59Z")) is None


def test_a_session_has_not_begun_until_its_first_minute_has_ended() -> None:
    assert NO_DELAY.ask(WINTER_DAY, EXTENDED, at("2024-01-02T09:00:00Z")) is None
    assert NO_DELAY.ask(WINTER_DAY, EXTENDED, at("2024-01-02T09:00:59.999999Z")) is None

    asked = NO_DELAY.ask(WINTER_DAY, EXTENDED, at("2024-01-02T09:01:00Z"))

    assert asked is not None
    assert asked.window.end == at("2024-01-02T09:01:00Z")


def test_a_running_session_is_asked_for_up_to_the_last_whole_minute() -> None:
    asked = NO_DELAY.ask(WINTER_DAY, EXTENDED, at("2024-01-02T15:00:59Z"))

    assert asked is not None
    assert (asked.window.start, asked.window.end) == (at("2024-01-02T09:00:00Z"), at("2024-01-02T15:00:00Z"))
    assert asked.final is False


def test_the_providers_delay_moves_what_is_knowable() -> None:
    assert QUARTER.ask(WINTER_DAY, EXTENDED, at("2024-01-02T09:15:59Z")) is None

    asked = QUARTER.ask(WINTER_DAY, EXTENDED, at("2024-01-02T15:15:30Z"))

    assert asked is not None
    assert asked.window.end == at("2024-01-02T15:00:00Z")


@pytest.mark.parametrize("session", [WINTER_DAY, SUMMER_DAY, HALF_DAY], ids=["winter", "summer", "half day"])
@pytest.mark.parametrize("kind", SessionKind)
def test_a_session_is_final_exactly_at_its_extended_close_plus_the_delay(
    session: TradingSession, kind: SessionKind
) -> None:
    final_from = session.extended.end.plus(timedelta(minutes=15))

    too_early = QUARTER.ask(session, kind, final_from.plus(timedelta(microseconds=-1)))
    in_time = QUARTER.ask(session, kind, final_from)

    assert too_early is not None
    assert in_time is not None
    assert (too_early.final, in_time.final) == (False, True)
    assert in_time.window == session.window(kind)


def test_a_half_day_is_not_final_at_its_early_close() -> None:
    assert at("2024-07-03T17:00:00Z") == HALF_DAY.closes

    asked = NO_DELAY.ask(HALF_DAY, REGULAR, at("2024-07-03T20:59:00Z"))

    assert asked is not None
    assert asked.window == HALF_DAY.regular
    assert asked.final is False


def test_a_half_day_is_final_at_five_plus_the_delay() -> None:
    assert NO_DELAY.is_final(HALF_DAY, at("2024-07-03T21:00:00Z"))
    assert not QUARTER.is_final(HALF_DAY, at("2024-07-03T21:14:59Z"))
    assert QUARTER.is_final(HALF_DAY, at("2024-07-03T21:15:00Z"))


def test_the_newest_final_session_may_be_long_ago_if_exceptions_close_the_exchange() -> None:
    closed = (
        CalendarException(date, closed=True)
        for number in range(25)
        if (date := TradingDate.parse("2024-06-01").plus_days(number)).day.weekday() < 5
    )
    calendar = ExchangeCalendar(TradingDate.parse("2024-12-31"), partial(exchange_table, exceptions=tuple(closed)))
    assert str(NO_DELAY.latest_final(calendar, at("2024-06-25T12:00:00Z"))) == "2024-05-31"


def test_regular_hours_whose_close_has_passed_stay_partial_until_the_extended_close() -> None:
    after_the_close = NO_DELAY.ask(WINTER_DAY, REGULAR, at("2024-01-03T00:59:59Z"))
    after_extended = NO_DELAY.ask(WINTER_DAY, REGULAR, at("2024-01-03T01:00:00Z"))

    assert after_the_close is not None
    assert after_extended is not None
    assert (after_the_close.final, after_extended.final) == (False, True)
    assert after_the_close.window == after_extended.window == WINTER_DAY.regular


@pytest.mark.parametrize("minute", [0, 5])
@pytest.mark.parametrize("session", [WINTER_DAY, SUMMER_DAY, HALF_DAY], ids=["winter", "summer", "half day"])
def test_a_regular_session_is_asked_for_with_the_minute_of_its_closing_auction(
    session: TradingSession, minute: int
) -> None:
    finality, auction_ends = SessionFinality(timedelta(), minute), session.closes.plus(timedelta(minutes=minute + 1))

    regular, extended = (finality.ask(session, kind, session.extended.end) for kind in (REGULAR, EXTENDED))
    before = finality.ask(session, REGULAR, auction_ends.plus(timedelta(seconds=-1)))

    assert regular is not None
    assert (regular.window.start, regular.window.end) == (session.opens, auction_ends)
    assert extended is not None
    assert extended.window == session.extended
    assert before is not None
    assert before.window.end == auction_ends.plus(timedelta(minutes=-1))


@given(
    session=st.sampled_from([WINTER_DAY, SUMMER_DAY, HALF_DAY]),
    kind=st.sampled_from(SessionKind),
    delay=st.integers(0, 100),
    moment=st.integers(-7200, 30 * 3600),
)
def test_nothing_is_asked_for_that_the_provider_may_not_say_yet(
    session: TradingSession, kind: SessionKind, delay: int, moment: int
) -> None:
    now = session.extended.start.plus(timedelta(seconds=moment))

    asked = SessionFinality(timedelta(minutes=delay)).ask(session, kind, now)

    whole = session.window(kind)
    if asked is None:
        assert now.epoch_micros - delay * 60_000_000 < whole.start.epoch_micros + 60_000_000
    else:
        last_minute_ends = asked.window.end
        assert asked.window.start == whole.start
        assert whole.start < last_minute_ends <= min(whole.end, now.plus(timedelta(minutes=-delay)))
        assert last_minute_ends.epoch_micros % 60_000_000 == 0
        assert asked.final is (now >= session.extended.end.plus(timedelta(minutes=delay)))


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        ("2024-07-05T00:14:59Z", "2024-07-03"),
        ("2024-07-03T00:14:59Z", "2024-07-01"),
        ("2024-07-03T00:15:00Z", "2024-07-02"),
        ("2024-07-03T21:14:59Z", "2024-07-02"),  # a half day: extended hours end at 17:00
        ("2024-07-03T21:15:00Z", "2024-07-03"),
        ("2024-07-05T15:00:00Z", "2024-07-03"),
        ("2024-07-08T12:00:00Z", "2024-07-05"),
        ("2001-09-16T12:00:00Z", "2001-09-10"),
    ],
)
def test_the_latest_final_session_is_the_newest_after_its_extended_close_and_the_delay(now: str, latest: str) -> None:
    assert str(QUARTER.latest_final(CALENDAR, at(now))) == latest
