from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-62_000_000_000_000_000, 253_000_000_000_000_000).map(
    lambda micros: EPOCH + timedelta(microseconds=micros)
)
"""From the year 5 to 9987."""


@given(MOMENTS)
@example(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
@example(datetime(1970, 1, 1, tzinfo=UTC))
def test_epoch_micros_and_text_lead_back_to_the_same_timestamp(moment: datetime) -> None:
    timestamp = Timestamp(moment)
    assert Timestamp.from_epoch_micros(timestamp.epoch_micros) == timestamp
    assert Timestamp.parse(str(timestamp)) == timestamp


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_the_same_moment_in_any_zone_is_the_same_timestamp(moment: datetime, minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert Timestamp(elsewhere) == Timestamp(moment)
    assert Timestamp(elsewhere).moment.tzinfo is UTC
    assert hash(Timestamp(elsewhere)) == hash(Timestamp(moment))


def test_epoch_micros_counts_from_1970() -> None:
    assert Timestamp.parse("1970-01-01T00:00:00Z").epoch_micros == 0
    assert Timestamp.parse("2024-01-02T14:30:00.000001Z").epoch_micros == 1_704_205_800_000_001
    assert Timestamp.parse("1969-12-31T23:59:59.999999Z").epoch_micros == -1


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-01-02T14:30:00Z", "2024-01-02T14:30:00Z"),
        ("2024-01-02T09:30:00-05:00", "2024-01-02T14:30:00Z"),
        ("2024-01-02T14:30:00.5+00:00", "2024-01-02T14:30:00.500000Z"),
        ("2024-01-02T14:30:00.123456789Z", "2024-01-02T14:30:00.123456Z"),
    ],
)
def test_parse_reads_rfc_3339_to_the_microsecond(text: str, utc: str) -> None:
    assert str(Timestamp.parse(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-01-02",
        "2024-01-02T14:30:00",
        "2024-13-02T14:30:00Z",
        "2024-01-02T14:30:60Z",
        "2024-01-02T24:30:00Z",
        "2023-02-29T00:00:00Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:00:00-10:00",
    ],
)
def test_parse_refuses_text_that_is_no_moment(text: str) -> None:
    with pytest.raises(ValidationError, match="is not an RFC 3339 moment such as 2024-01-02T14:30:00Z"):
        Timestamp.parse(text)


@pytest.mark.parametrize("value", [datetime(2024, 1, 2), "2024-01-02T14:30:00Z", 0, None, pd.NaT])  # noqa: DTZ001
def test_timestamp_refuses_what_has_no_time_zone(value: Any) -> None:
    with pytest.raises(ValidationError, match="a timestamp needs a time zone"):
        Timestamp(value)


def test_timestamp_of_pandas_is_a_plain_datetime_without_nanoseconds() -> None:
    timestamp = Timestamp(pd.Timestamp("2024-01-02T09:30:00.000001999", tz="America/New_York"))
    assert type(timestamp.moment) is datetime
    assert str(timestamp) == "2024-01-02T14:30:00.000001Z"
    assert timestamp == Timestamp.parse("2024-01-02T14:30:00.000001Z")


def test_both_one_thirties_of_a_fall_back_night_are_an_hour_apart() -> None:
    new_york = ZoneInfo("America/New_York")
    first = Timestamp(datetime(2024, 11, 3, 1, 30, tzinfo=new_york))
    second = Timestamp(datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=new_york))
    assert first.plus(timedelta(hours=1)) == second
    assert first < second


@pytest.mark.parametrize("micros", [10**20, -(10**20), 2**63 - 1, -(2**63)])
def test_micros_beyond_the_calendar_are_refused(micros: int) -> None:
    with pytest.raises(ValidationError, match="outside the supported dates"):
        Timestamp.from_epoch_micros(micros)


def test_plus_refuses_to_leave_the_calendar() -> None:
    with pytest.raises(ValidationError, match="outside the supported dates"):
        Timestamp.parse("9999-12-31T23:59:59Z").plus(timedelta(seconds=1))


def test_moments_that_only_utc_cannot_express_are_refused() -> None:
    with pytest.raises(ValidationError, match="outside the supported dates"):
        Timestamp(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-10))))


def test_timestamps_are_ordered_and_shown_in_utc() -> None:
    early, late = Timestamp.parse("2024-01-02T09:30:00-05:00"), Timestamp.parse("2024-01-02T14:31:00Z")
    assert early < late
    assert late.plus(timedelta(minutes=-1)) == early
    assert repr(early) == "Timestamp('2024-01-02T14:30:00Z')"
