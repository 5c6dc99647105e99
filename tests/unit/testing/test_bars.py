from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bar, bar_table, bars_request, sessions


def test_a_bar_is_valid_and_takes_changes() -> None:
    row = bar("2024-01-02T14:30:00Z", 10.0, volume=5.0)
    assert set(row) == set(BAR_SCHEMA.names)
    assert row["low"] < row["open"] < row["close"] < row["high"]
    assert row["volume"] == 5.0


def test_a_table_of_bars_has_the_canonical_columns() -> None:
    assert bar_table([bar("2024-01-02T14:30:00Z")]).schema == BAR_SCHEMA
    assert bar_table([]).num_rows == 0


def test_a_request_names_the_sessions_between_two_dates_both_inclusive() -> None:
    request = bars_request(["AAPL"], "2024-11-27", "2024-12-02", kind=SessionKind.REGULAR, final=False, batch_id=7)
    assert [str(asked.trading_date) for asked in request.sessions] == ["2024-11-27", "2024-11-29", "2024-12-02"]
    assert [asked.window for asked in request.sessions] == [asked.session.regular for asked in request.sessions]
    assert (request.batch_id, {asked.final for asked in request.sessions}) == (7, {False})


def test_official_days_are_requested_from_midnight_to_midnight() -> None:
    (asked,) = bars_request(["AAPL"], "2024-03-08", "2024-03-08", timeframe=Timeframe.DAY_1).sessions
    assert (str(asked.window.start), str(asked.window.end)) == ("2024-03-08T05:00:00Z", "2024-03-09T05:00:00Z")


def test_sessions_after_the_usual_calendar_are_known_and_distant_ones_refused() -> None:
    assert [str(day.trading_date) for day in sessions("2027-01-01", "2027-01-05")] == ["2027-01-04", "2027-01-05"]
    with pytest.raises(ConfigurationError, match="9999"):
        sessions("2050-12-30", "9999-12-31")
