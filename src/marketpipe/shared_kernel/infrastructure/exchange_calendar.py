from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession

if TYPE_CHECKING:
    from pandas import DataFrame

EARLIEST = date(1980, 1, 1)


class ExchangeCalendar:
    """Holidays, half days and one-off closures of a stock exchange, by exchange_calendars.

    ``latest`` is the last date for which the schedule may be relied on; holidays beyond it are not decided yet.
    """

    def __init__(self, latest: TradingDate, exchange: str = "XNYS") -> None:
        self._latest, self._exchange = latest, exchange

    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        if last < first:
            return ()
        if first.day < EARLIEST or last > self._latest:
            raise ConfigurationError(
                f"the trading calendar reaches from {EARLIEST} to {self._latest}; {first} to {last} lies outside"
            )
        schedule = _schedule(self._exchange, first.day.year, last.day.year).loc[str(first) : str(last)]
        return tuple(
            TradingSession(TradingDate(day.date()), Timestamp(opens), Timestamp(closes))
            for day, opens, closes in zip(schedule.index, schedule["open"], schedule["close"], strict=True)
        )

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        return self.sessions(max(first, TradingDate(EARLIEST)), min(last, self._latest))


@lru_cache(maxsize=16)
def _schedule(exchange: str, first_year: int, last_year: int) -> DataFrame:
    import exchange_calendars

    # whole years: the library refuses ranges without a session, such as one Saturday
    start, end = date(first_year, 1, 1), date(last_year, 12, 31)
    return exchange_calendars.get_calendar(exchange, start=start, end=end).schedule
