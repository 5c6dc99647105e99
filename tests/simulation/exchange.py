"""The sessions of the exchange in the years that a world may have."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.testing.bars import sessions

FIRST: Final = "2023-12-01"
LAST: Final = "2025-12-31"


@lru_cache(1)
def all_sessions() -> dict[str, TradingSession]:
    """Return the sessions of the exchange by date, ascending."""
    return {str(session.trading_date): session for session in sessions(FIRST, LAST)}


def session_of(date: TradingDate) -> TradingSession | None:
    return all_sessions().get(str(date))


def sessions_between(first: TradingDate, last: TradingDate) -> list[TradingSession]:
    """Return the sessions from ``first`` to ``last``, both inclusive."""
    dates, date = [], first
    while date <= last:
        dates.append(date)
        date = date.plus_days(1)
    return [session for each in dates if (session := session_of(each)) is not None]


def session_before(session: TradingSession) -> TradingSession:
    dates = [*all_sessions()]
    return all_sessions()[dates[dates.index(str(session.trading_date)) - 1]]
