"""Builders of bars and of requests for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any, Final

import pyarrow as pa

from marketpipe.provider_kit import BAR_SCHEMA, AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

BarRow = dict[str, Any]
"""One bar: a value for each column of ``BAR_SCHEMA``, with an aware ``datetime`` as its timestamp."""
CALENDARS: Final = (2026, 2050)
"""The last year of the calendar that serves most requests, as a calendar takes a second to make, and of the longest."""


def bar(timestamp: str, price: float = 100.0, **changes: Any) -> BarRow:
    """Return a valid bar at ``price``, with ``changes`` to its columns. ``timestamp`` is RFC 3339 text."""
    row = {
        "timestamp": Timestamp.parse(timestamp).moment,
        "open": price,
        "high": price + 1,
        "low": price - 1,
        "close": price + 0.5,
        "volume": 1000.0,
        "trade_count": 10,
        "vwap": price,
    }
    return {**row, **changes}


def bar_table(rows: Sequence[BarRow]) -> pa.Table:
    """Return the bars as an Arrow table with the columns of ``BAR_SCHEMA``, in the same order."""
    return pa.Table.from_pylist(list(rows), schema=BAR_SCHEMA)


def sessions(first: str, last: str) -> tuple[TradingSession, ...]:
    """Return the sessions of the New York Stock Exchange; both dates (YYYY-MM-DD) are inclusive.

    Raises ``ConfigurationError`` for dates before 1980 and after 2050.
    """
    start, end = TradingDate.parse(first), TradingDate.parse(last)
    usual, longest = CALENDARS
    return _calendar(min(max(end.day.year, usual), longest)).sessions(start, end)


def bars_request(
    symbols: Sequence[str],
    first: str,
    last: str,
    *,
    timeframe: Timeframe = Timeframe.MINUTE_1,
    kind: SessionKind = SessionKind.EXTENDED,
    final: bool = True,
    batch_id: int = 1,
) -> BarsRequest:
    """Return a request for minutes, or for official days with ``timeframe`` 1d; both dates are inclusive."""
    asked = [AskedSession(session, _window(session, timeframe, kind), final) for session in sessions(first, last)]
    return BarsRequest(batch_id, tuple(map(Symbol, symbols)), tuple(asked), kind, timeframe=timeframe)


def _window(session: TradingSession, timeframe: Timeframe, kind: SessionKind) -> TimeWindow:
    if timeframe is Timeframe.DAY_1:
        return TimeWindow(session.trading_date.midnight, session.trading_date.plus_days(1).midnight)
    return session.window(kind)


@cache
def _calendar(last_year: int) -> ExchangeCalendar:
    return ExchangeCalendar(latest=TradingDate(date(last_year, 12, 31)))
