from __future__ import annotations

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.testing import bars_request, sessions


def test_request_asks_for_every_symbol_in_every_session() -> None:
    asked = bars_request(["AAPL", "MSFT"], "2024-11-27", "2024-12-02")
    assert [str(symbol_day) for symbol_day in asked.symbol_days] == [
        "AAPL 2024-11-27",
        "AAPL 2024-11-29",
        "AAPL 2024-12-02",
        "MSFT 2024-11-27",
        "MSFT 2024-11-29",
        "MSFT 2024-12-02",
    ]


def test_window_runs_from_the_first_session_to_the_last() -> None:
    regular = bars_request(["AAPL"], "2024-11-27", "2024-11-29", kind=SessionKind.REGULAR)
    assert regular.window == TimeWindow(
        Timestamp.parse("2024-11-27T14:30:00Z"), Timestamp.parse("2024-11-29T18:00:00Z")
    )
    extended = bars_request(["AAPL"], "2024-11-27", "2024-11-29")
    assert extended.window == TimeWindow(
        Timestamp.parse("2024-11-27T09:00:00Z"), Timestamp.parse("2024-11-29T22:00:00Z")
    )


def test_an_asked_session_has_the_trading_date_of_its_session() -> None:
    (session,) = sessions("2024-01-02", "2024-01-02")
    assert AskedSession(session, session.regular, final=True).trading_date == TradingDate.parse("2024-01-02")


@pytest.mark.parametrize("nothing", ["symbols", "sessions"])
def test_request_for_nothing_is_refused(nothing: str) -> None:
    with pytest.raises(ValidationError, match="names at least one symbol and one session"):
        evolve(bars_request(["AAPL"], "2024-01-02", "2024-01-02"), **{nothing: ()})


def test_request_names_three_symbols_at_most() -> None:
    assert str(bars_request(["A", "B", "C"], "2024-01-02", "2024-01-05")) == "A, B, C from 2024-01-02 to 2024-01-05"
    assert str(bars_request(["A", "B", "C", "D"], "2024-01-02", "2024-01-02")) == (
        "A, B, C, … from 2024-01-02 to 2024-01-02"
    )


def test_repr_counts_the_sessions_of_a_long_request() -> None:
    asked = bars_request(["AAPL"], "2020-01-02", "2024-12-31")
    assert isinstance(asked, BarsRequest)
    assert "<1258 sessions>" in repr(asked)
    assert len(repr(asked)) < 200
