from __future__ import annotations

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.testing import bars_request, invented_market, sessions

MARKET = invented_market(("MSFT", "AAPL"), "2024-11-27", "2024-12-02")
"""An ordinary session, a holiday, a half day, a weekend, and an ordinary session."""


def test_an_invented_market_has_every_session_and_no_two_bars_alike() -> None:
    rows = [row for rows in MARKET.bars.values() for row in rows]
    assert list(MARKET.bars) == ["AAPL", "MSFT"]
    assert len({row["open"] for row in rows}) == len(rows) > 800
    for rows in MARKET.bars.values():
        stamps = {row["timestamp"] for row in rows}
        for day in sessions("2024-11-27", "2024-12-02"):
            assert {day.extended.start.moment, day.opens.moment, day.closes.moment} <= stamps
            assert day.extended.end.moment not in stamps


def test_official_days_have_the_auction_as_their_close_and_the_volume_of_all_hours() -> None:
    half_day = sessions("2024-11-29", "2024-11-29")[0]
    official = MARKET.official["AAPL"][1]
    minutes = [row for row in MARKET.bars["AAPL"] if half_day.extended.start.moment <= row["timestamp"]]
    minutes = [row for row in minutes if row["timestamp"] < half_day.extended.end.moment]
    at = {row["timestamp"]: row for row in minutes}
    assert official["timestamp"] == half_day.trading_date.midnight.moment
    assert official["open"] == at[half_day.opens.moment]["open"]
    assert official["close"] == at[half_day.closes.moment]["open"]
    assert official["volume"] == sum(row["volume"] for row in minutes)
    assert official["high"] < max(row["high"] for row in minutes)


def test_a_request_is_answered_by_symbol_then_time_and_only_inside_its_hours() -> None:
    request = bars_request(["MSFT", "AAPL", "ZZZZ"], "2024-11-29", "2024-11-29", kind=SessionKind.REGULAR)
    answer = MARKET.answer(request)
    assert [symbol for symbol, _ in answer] == ["AAPL"] * 42 + ["MSFT"] * 42
    assert answer[41][1]["timestamp"] < request.window.end.moment


def test_official_days_answer_a_request_for_days() -> None:
    request = bars_request(["AAPL"], "2024-11-29", "2024-12-02", timeframe=Timeframe.DAY_1)
    assert [row for _, row in MARKET.answer(request)] == list(MARKET.official["AAPL"][1:])


def test_a_thinned_market_has_every_nth_minute() -> None:
    assert MARKET.thinned(100).bars["AAPL"] == MARKET.bars["AAPL"][::100]
