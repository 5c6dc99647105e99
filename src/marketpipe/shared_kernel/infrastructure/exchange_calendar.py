from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import date
from functools import cached_property, lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession
from marketpipe.shared_kernel.infrastructure.session_table import SessionTable

if TYPE_CHECKING:
    from pandas import DataFrame

EARLIEST = date(1980, 1, 1)
EXCHANGE = "XNYS"


@lru_cache(maxsize=4)
def exchange_table(last_year: int) -> SessionTable:
    """All sessions to the end of that year, by exchange_calendars, which takes a second to import and to ask."""
    import exchange_calendars

    start, end = EARLIEST, date(last_year, 12, 31)
    schedule: DataFrame = exchange_calendars.get_calendar(EXCHANGE, start=start, end=end).schedule
    opens, closes = (schedule[column].dt.tz_convert(NEW_YORK).dt.time for column in ("open", "close"))
    hours = zip(opens, closes, strict=True)
    return SessionTable.of(dict(zip(schedule.index.date, hours, strict=True)), start.year, last_year)


class ExchangeCalendar:
    """Holidays, half days and one-off closures of the New York Stock Exchange.

    ``latest`` is the last date for which the schedule may be relied on; holidays beyond it are not decided yet.
    ``find_table`` finds the sessions to the end of a year.
    """

    def __init__(self, latest: TradingDate, find_table: Callable[[int], SessionTable] = exchange_table) -> None:
        self._latest, self._find_table = latest, find_table
        self._years = dict[int, tuple[list[date], tuple[TradingSession, ...]]]()

    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        if last < first:
            return ()
        if first.day < EARLIEST or last > self._latest:
            raise ConfigurationError(
                f"the trading calendar reaches from {EARLIEST} to {self._latest}; {first} to {last} lies outside"
            )
        years = range(first.day.year, last.day.year + 1)
        return tuple(chain.from_iterable(self._of_year(year, first.day, last.day) for year in years))

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        return self.sessions(max(first, TradingDate(EARLIEST)), min(last, self._latest))

    def _of_year(self, year: int, first: date, last: date) -> tuple[TradingSession, ...]:
        if year not in self._years:
            sessions = self._table.sessions(year)
            self._years[year] = [session.trading_date.day for session in sessions], sessions
        dates, sessions = self._years[year]
        return sessions[bisect_left(dates, first) : bisect_right(dates, last)]

    @cached_property
    def _table(self) -> SessionTable:
        return self._find_table(self._latest.day.year)
