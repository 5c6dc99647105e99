"""Trading halts: minutes in which the market, or some symbols, could not trade. Without bars then, no bars are missing.

``KNOWN_HALTS`` are the market-wide halts, and single ones that are long and well known. Others come from the
configuration (``calendar.halts``). Pauses of five minutes after a price limit are too short to be suspect, and are not
listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import EXTENDED_CLOSE, EXTENDED_OPEN, TradingDate

REOPENING_MINUTES: Final = 5
"""After a halt not every symbol trades at once: its reopening auction takes a while."""


@frozen
class TradingHalt:
    """Trading was halted from ``start``, inclusive, to ``end``, exclusive, by New York's wall clock.

    ``symbols`` are those that were halted; none means the whole market. ``source`` tells where it is known from. Raises
    ``ValidationError``.
    """

    trading_date: TradingDate
    start: time
    end: time = field()
    symbols: frozenset[Symbol] = frozenset()
    source: str = ""

    @end.validator
    def _after_the_start(self, _: object, end: time) -> None:
        if not EXTENDED_OPEN <= self.start < end <= EXTENDED_CLOSE:
            raise ValidationError(
                f"{self.trading_date}: from {self.start} to {end} is not a time between 04:00 and 20:00 New York time"
            )

    def affects(self, symbol: Symbol | None) -> bool:
        """Return whether the symbol was halted; None stands for the whole market."""
        return not self.symbols or symbol in self.symbols

    @property
    def minutes(self) -> int:
        """The minutes in which bars may be absent, and those of the reopening: bit 0 is 04:00 New York time."""
        first, end = _minute(self.start), _minute(self.end) + (self.end.second > 0) + REOPENING_MINUTES
        return (1 << end) - (1 << first)


def _minute(clock: time) -> int:
    return (clock.hour - EXTENDED_OPEN.hour) * 60 + clock.minute


def halted_minutes(halts: Iterable[TradingHalt], symbol: Symbol | None) -> int:
    """Return a bit for each minute after 04:00 in which the symbol, or None for the whole market, was halted."""
    minutes = 0
    for halt in halts:
        if halt.affects(symbol):
            minutes |= halt.minutes
    return minutes


WORKING_GROUP: Final = "Report of the Market-Wide Circuit Breaker Working Group on the events of March 2020, 2021-03-31"
SEC_1997: Final = "SEC, Trading Analysis of October 27 and 28, 1997 (http://www.columbia.edu/~hcs14/tradrep.htm)"
NASDAQ_2013: Final = "Nasdaq Equity Trader Alert 2013-77 (https://www.nasdaqtrader.com/TraderNews.aspx?id=ETA2013-77)"
INQUIRER_2012: Final = "Philadelphia Inquirer, 2012-10-19 (http://www.philly.com/philly/business/20121019_Google_halted_on_early_report.html)"
SEEKING_ALPHA_2018: Final = (
    "Seeking Alpha, 2018-08-07 (https://seekingalpha.com/news/3379457-tesla-trading-halted-live-updates)"
)


def _halt(day: str, start: time, end: time, source: str, *symbols: str) -> TradingHalt:
    return TradingHalt(TradingDate.parse(day), start, end, frozenset(map(Symbol, symbols)), source)


KNOWN_HALTS: Final = (
    _halt("1997-10-27", time(14, 36), time(15, 6), SEC_1997),
    _halt("2012-10-18", time(12, 50), time(15, 20), INQUIRER_2012, "GOOG", "GOOGL"),
    # Only what is listed on Nasdaq. Which symbols these were is not known here: the others have bars, as always.
    _halt("2013-08-22", time(12, 14), time(15, 25), NASDAQ_2013),
    _halt("2018-08-07", time(14, 8), time(15, 45), SEEKING_ALPHA_2018, "TSLA"),
    _halt("2020-03-09", time(9, 34, 13), time(9, 49, 13), WORKING_GROUP),
    _halt("2020-03-12", time(9, 35, 44), time(9, 50, 44), WORKING_GROUP),
    _halt("2020-03-16", time(9, 30, 1), time(9, 45, 1), WORKING_GROUP),
    _halt("2020-03-18", time(12, 56, 17), time(13, 11, 17), WORKING_GROUP),
)
"""By date; the sources are in docs/adr/0024."""
