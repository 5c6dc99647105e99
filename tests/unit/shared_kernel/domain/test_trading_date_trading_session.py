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


def test_extended_session_runs_from_four_to_eight_even_on_a_half_day() -> None:
    assert WINTER_DAY.extended == window("2024-01-02T09:00:00Z", "2024-01-03T01:00:00Z")
    assert HALF_DAY.extended == window("2024-07-03T08:00:00Z", "2024-07-04T00:00:00Z")


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
