from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate, TradingSession


def session(day: str, opens: str, closes: str) -> TradingSession:
    return TradingSession(TradingDate.parse(day), Timestamp.parse(opens), Timestamp.parse(closes))


def window(start: str, end: str) -> TimeWindow:
    return TimeWindow(Timestamp.parse(start), Timestamp.parse(end))


WINTER_DAY = session("2024-01-02", "2024-01-02T14:30:00Z", "2024-01-02T21:00:00Z")
HALF_DAY = session("2024-07-03", "2024-07-03T13:30:00Z", "2024-07-03T17:00:00Z")


def test_regular_session_runs_from_open_to_close() -> None:
    assert WINTER_DAY.regular == window("2024-01-02T14:30:00Z", "2024-01-02T21:00:00Z")
    assert HALF_DAY.regular == window("2024-07-03T13:30:00Z", "2024-07-03T17:00:00Z")


def test_extended_session_runs_from_four_to_eight() -> None:
    assert WINTER_DAY.extended == window("2024-01-02T09:00:00Z", "2024-01-03T01:00:00Z")
    assert WINTER_DAY.late == window("2024-01-02T21:00:00Z", "2024-01-03T01:00:00Z")


@pytest.mark.parametrize(
    ("day", "opens", "closes", "end"),
    [
        ("2024-07-03", "13:30", "17:00", "2024-07-03T21:00:00Z"),
        ("2019-12-24", "14:30", "18:00", "2019-12-24T22:00:00Z"),
        ("1996-01-08", "16:00", "19:00", "1996-01-08T22:00:00Z"),  # 14:00
        ("2005-06-01", "13:30", "19:56", "2005-06-02T00:00:00Z"),  # the floor stopped, the evening did not change
        ("1997-10-27", "14:30", "20:30", "1997-10-28T01:00:00Z"),
        ("2002-09-11", "16:00", "20:00", "2002-09-12T00:00:00Z"),
    ],
)
def test_extended_hours_end_at_five_if_the_close_is_early(day: str, opens: str, closes: str, end: str) -> None:
    found = session(day, f"{day}T{opens}:00Z", f"{day}T{closes}:00Z")
    assert str(found.extended.end) == str(found.late.end) == end
    assert found.late.start == found.closes


def test_window_is_chosen_by_the_kind_of_session() -> None:
    assert HALF_DAY.window(SessionKind.REGULAR) == HALF_DAY.regular
    assert HALF_DAY.window(SessionKind.EXTENDED) == HALF_DAY.extended


def test_session_may_fill_the_whole_extended_day() -> None:
    whole = session("2024-01-02", "2024-01-02T09:00:00Z", "2024-01-03T01:00:00Z")
    assert whole.regular == whole.extended


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        ("2024-01-02T21:00:00Z", "2024-01-02T14:30:00Z"),
        ("2024-01-02T14:30:00Z", "2024-01-02T14:30:00Z"),
        ("2024-01-02T08:59:59Z", "2024-01-02T21:00:00Z"),
        ("2024-01-02T14:30:00Z", "2024-01-03T01:00:01Z"),
        ("2024-01-03T14:30:00Z", "2024-01-03T21:00:00Z"),
        ("2024-01-01T14:30:00Z", "2024-01-01T21:00:00Z"),
    ],
)
def test_a_session_must_be_within_the_extended_hours_of_its_trading_date(opens: str, closes: str) -> None:
    with pytest.raises(ValidationError, match="the session of 2024-01-02 cannot run from"):
        session("2024-01-02", opens, closes)


def test_having_extended_hours_means_having_the_regular_ones() -> None:
    extended, regular = SessionKind.EXTENDED, SessionKind.REGULAR
    assert extended.hours.covers(regular.hours)
    assert extended.hours.covers(extended.hours)
    assert regular.hours.covers(regular.hours)
    assert not regular.hours.covers(extended.hours)
    assert [str(kind) for kind in SessionKind] == ["extended", "regular"]
