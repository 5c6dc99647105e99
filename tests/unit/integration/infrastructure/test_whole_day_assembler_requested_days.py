from __future__ import annotations

import numpy as np
import pyarrow as pa
from attrs import evolve

from marketpipe.integration.infrastructure.whole_day_assembler import RequestedDays
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import TIMESTAMP
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers
from marketpipe.testing import bars_request

FRIDAY_TO_MONDAY = bars_request(("AAPL",), "2024-03-08", "2024-03-11")


def micros(*moments: str) -> np.ndarray:
    return np.array([Timestamp.parse(moment).epoch_micros for moment in moments], np.int64)


def numbers(*moments: str) -> np.ndarray:
    return day_numbers(micros(*moments))


def test_outside_is_before_the_first_session_or_after_the_last_in_new_york() -> None:
    moments = (
        "2024-03-08T04:59:00Z",
        "2024-03-08T05:00:00Z",
        "2024-03-09T12:00:00Z",
        "2024-03-12T03:59:00Z",
        "2024-03-12T04:00:00Z",
    )
    asked = RequestedDays(FRIDAY_TO_MONDAY)
    assert asked.outside(numbers(*moments)).tolist() == [True, False, False, False, True]


def test_the_extended_session_has_no_other_hours() -> None:
    moments = micros("2024-03-08T09:00:00Z", "2024-03-08T15:00:00Z", "2024-03-08T08:00:00Z")
    stamps = pa.chunked_array([pa.array(moments).cast(TIMESTAMP)])
    assert not RequestedDays(FRIDAY_TO_MONDAY).other_hours(stamps, day_numbers(moments)).any()


def test_other_hours_are_those_of_the_extended_session_around_the_regular_one() -> None:
    half_day = bars_request(("AAPL",), "2024-07-03", "2024-07-05", kind=SessionKind.REGULAR)
    cases = {
        "2024-07-03T07:59:00Z": False,  # before 04:00: wrong, and for validation to say so
        "2024-07-03T08:00:00Z": True,
        "2024-07-03T13:29:00Z": True,
        "2024-07-03T13:30:00Z": False,
        "2024-07-03T16:59:00Z": False,
        "2024-07-03T17:00:00Z": True,  # half day: over at 13:00
        "2024-07-03T20:59:00Z": True,
        "2024-07-03T21:00:00Z": False,  # half day: extended hours are over at 17:00, and this is wrong as well
        "2024-07-04T00:00:00Z": False,
        "2024-07-04T14:00:00Z": False,  # a holiday has no hours
        "2024-07-05T16:59:00Z": False,
        "2024-07-05T17:00:00Z": False,
        "2024-07-05T20:00:00Z": True,
        "2024-07-05T23:59:00Z": True,
    }
    moments = micros(*cases)
    stamps = pa.chunked_array([pa.array(moments).cast(TIMESTAMP)])
    other = RequestedDays(half_day).other_hours(stamps, day_numbers(moments))
    assert dict(zip(cases, other.tolist(), strict=True)) == cases


def test_the_minute_of_the_closing_auction_is_kept_if_it_was_requested() -> None:
    asked = bars_request(("AAPL",), "2024-07-03", "2024-07-05", kind=SessionKind.REGULAR)
    windows = [evolve(each, window=each.session.window(SessionKind.REGULAR, 0)) for each in asked.sessions]
    cases = {
        "2024-07-03T16:59:00Z": False,
        "2024-07-03T17:00:00Z": False,
        "2024-07-03T17:01:00Z": True,
        "2024-07-05T20:00:00Z": False,
        "2024-07-05T20:01:00Z": True,
    }
    moments = micros(*cases)
    stamps = pa.chunked_array([pa.array(moments).cast(TIMESTAMP)])

    other = RequestedDays(evolve(asked, sessions=tuple(windows))).other_hours(stamps, day_numbers(moments))

    assert dict(zip(cases, other.tolist(), strict=True)) == cases


def test_a_bar_of_a_session_that_goes_on_is_for_validation_to_judge() -> None:
    asked = bars_request(("AAPL",), "2024-03-08", "2024-03-08", kind=SessionKind.REGULAR, final=False)
    (running,) = asked.sessions
    cut = evolve(running, window=running.session.regular.until(Timestamp.parse("2024-03-08T15:00:00Z")))
    moments = micros("2024-03-08T20:59:00Z", "2024-03-08T21:00:00Z")
    stamps = pa.chunked_array([pa.array(moments).cast(TIMESTAMP)])

    other = RequestedDays(evolve(asked, sessions=(cut,))).other_hours(stamps, day_numbers(moments))

    assert other.tolist() == [False, True]


def test_a_bar_without_a_time_does_not_count_as_one_of_other_hours() -> None:
    regular = bars_request(("AAPL",), "2024-03-08", "2024-03-08", kind=SessionKind.REGULAR)
    stamps = pa.chunked_array([pa.array([None, micros("2024-03-08T12:00:00Z")[0]], pa.int64()).cast(TIMESTAMP)])
    days = numbers("2024-03-08T12:00:00Z", "2024-03-08T12:00:00Z")
    assert RequestedDays(regular).other_hours(stamps, days).tolist() == [False, True]


def test_final_windows_are_those_of_final_sessions() -> None:
    friday, monday = FRIDAY_TO_MONDAY.sessions
    asked = RequestedDays(evolve(FRIDAY_TO_MONDAY, sessions=(friday, evolve(monday, final=False))))
    days = numbers("2024-03-08T15:00:00Z", "2024-03-09T15:00:00Z", "2024-03-11T15:00:00Z")
    assert [asked.final_window(int(number)) for number in days] == [friday.window, None, None]
