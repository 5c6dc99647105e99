from __future__ import annotations

from typing import Protocol

from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession


class TradingCalendar(Protocol):
    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        """The exchange's sessions from ``first`` to ``last``, both inclusive, ascending; none on a closed day.

        Raises ``ConfigurationError`` for dates the calendar does not reach.
        """
        ...

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        """The same, as far as the calendar reaches."""
        ...
