"""Late opens and unusual closes of the New York Stock Exchange since 1980 that exchange_calendars does not know.

The table is the exchange's own list of special closings, checked against pandas_market_calendars 5.5 and, where a
report names the minute, against that. Interruptions in the middle of a session are halts: they are in
ingestion/domain/coverage/halts.py if all markets stopped. Closed days since 1980 are in exchange_calendars.
"""

from __future__ import annotations

from datetime import date, time
from typing import Final

from marketpipe.shared_kernel.domain.trading_date import CalendarException, TradingDate

LIST: Final = (
    "NYSE, special closings since 1885 "
    "(https://github.com/rsheftel/pandas_market_calendars/files/6827110/Stocks.NYSE-Closings.pdf)"
)
SEC_1997: Final = "SEC, Trading Analysis of October 27 and 28, 1997 (http://www.columbia.edu/~hcs14/tradrep.htm)"
GLITCH_2005: Final = (
    "Los Angeles Times, 2005-06-02 (https://www.latimes.com/archives/la-xpm-2005-jun-02-fi-glitch2-story.html)"
)

LAST_OPENING_AT_TEN: Final = date(1985, 9, 27)
"""Sessions opened at 10:00 until then, and at 09:30 since Monday 1985-09-30: Los Angeles Times, 1985-07-11
(https://www.latimes.com/archives/la-xpm-1985-07-11-fi-8608-story.html)."""


def _on(day: str, why: str, opens: time | None = None, closes: time | None = None, of: str = LIST) -> CalendarException:
    return CalendarException(TradingDate.parse(day), opens, closes, source=f"{why}; {of}")


_BACKLOG = "volume after the break of 1987-10-19"
_CLOSES_OF_1987: Final = {
    time(14): ("10-23", "10-26", "10-27", "10-28", "10-29", "10-30"),
    time(14, 30): ("11-02", "11-03", "11-04"),
    time(15): ("11-05", "11-06"),
    time(15, 30): ("11-09", "11-10", "11-11"),
}
KNOWN_EXCEPTIONS: Final = (
    _on("1981-03-30", "the President was shot", closes=time(15, 17)),
    _on("1981-09-09", "power failure", closes=time(15, 28)),
    *(_on(f"1987-{day}", _BACKLOG, closes=at) for at, days in _CLOSES_OF_1987.items() for day in days),
    _on("1989-11-10", "fire", opens=time(11)),
    _on("1990-12-27", "explosion of a transformer", opens=time(11)),
    _on("1991-01-17", "silence for troops in the Gulf", opens=time(9, 31)),
    _on("1991-02-25", "silence for troops in the Gulf", opens=time(9, 31)),
    _on("1994-02-11", "snow", closes=time(14, 30)),
    _on("1995-12-18", "computer trouble", opens=time(10, 30)),
    _on("1996-01-08", "snow", opens=time(11), closes=time(14)),
    _on("1997-10-27", "second circuit breaker", closes=time(15, 30), of=SEC_1997),
    _on("2001-09-17", "silence for the dead of September 11", opens=time(9, 33)),
    _on("2001-10-08", "silence for troops", opens=time(9, 31)),
    _on("2002-09-11", "first anniversary of September 11", opens=time(12)),
    _on("2003-03-20", "silence for troops", opens=time(9, 32)),
    _on("2004-06-07", "silence for President Reagan", opens=time(9, 32)),
    _on("2005-06-01", "communications problem", closes=time(15, 56), of=GLITCH_2005),
    _on("2006-12-27", "silence for President Ford", opens=time(9, 32)),
)
"""By date."""
