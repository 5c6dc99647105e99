"""The bars that a scripted server has: a small invented market, or one of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Final

from attrs import field, frozen

from marketpipe.provider_kit import BarsRequest
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingSession
from marketpipe.testing.bars import BarRow, bar, sessions

STEP: Final = timedelta(minutes=5)
"""Between bars: the open, the close and the first minute of extended hours have one, and a day has fewer than 200."""
MINUTE: Final = timedelta(minutes=1)
MAY_BE_ABSENT: Final = ("trade_count", "vwap")
"""Columns that a provider need not have."""
LOWEST_PRICE, PRICE_STEP = 50.0, 100.0
"""Of the first symbol, and between symbols: prices of two symbols never meet."""


@frozen(eq=False)  # compared and hashed by identity, so that a server may cache what it makes of a market
class Market:
    """``bars`` are minutes and ``official`` the exchange's daily bars, by symbol, ascending.

    Official days are stamped New York midnight.
    """

    bars: Mapping[str, Sequence[BarRow]] = field(repr=False)
    official: Mapping[str, Sequence[BarRow]] = field(factory=dict, repr=False)

    def answer(self, request: BarsRequest) -> list[tuple[str, BarRow]]:
        """Return the bars that answer a request, each with its symbol: by symbol, then time, both ascending."""
        rows = self.official if request.timeframe is Timeframe.DAY_1 else self.bars
        windows = [asked.window for asked in request.sessions]
        return [
            (str(symbol), row)
            for symbol in sorted(request.symbols)
            for row in rows.get(str(symbol), ())
            if any(window.contains(Timestamp(row["timestamp"])) for window in windows)
        ]

    def thinned(self, every: int) -> Market:
        """Return a market with every n-th minute only, and the same official days."""
        return Market({symbol: rows[::every] for symbol, rows in self.bars.items()}, self.official)

    def without(self, columns: Sequence[str]) -> Market:
        """Return a market with None in these columns, as providers have it that do not serve them."""
        if wrong := [name for name in columns if name not in MAY_BE_ABSENT]:
            allowed = " and ".join(MAY_BE_ABSENT)
            raise ValueError(f"absent_columns: bars need {wrong[0]!r}; only {allowed} may be absent")
        absent: BarRow = dict.fromkeys(columns)
        bars, days = (
            {symbol: [{**row, **absent} for row in rows] for symbol, rows in each.items()}
            for each in (self.bars, self.official)
        )
        return Market(bars, days)


@cache
def invented_market(symbols: tuple[str, ...], first: str, last: str, *, absent_columns: tuple[str, ...] = ()) -> Market:
    """Return a market with bars in all extended hours between two dates (YYYY-MM-DD), both inclusive.

    There is a bar every five minutes and in the last minute of each day; no two are alike. The official days agree
    with the minutes. Bars have None in the ``absent_columns``, which may be those of ``MAY_BE_ABSENT``: otherwise
    raises ``ValueError``.
    """
    if absent_columns:
        return invented_market(symbols, first, last).without(absent_columns)
    bars, official = dict[str, list[BarRow]](), dict[str, list[BarRow]]()
    for number, symbol in enumerate(sorted(symbols)):
        base = LOWEST_PRICE + PRICE_STEP * number
        days = [(day, _minutes(day, base + 2 * position)) for position, day in enumerate(sessions(first, last))]
        bars[symbol] = [row for _, rows in days for row in rows]
        official[symbol] = [official_day(day, rows) for day, rows in days]
    return Market(bars, official)


def official_day(session: TradingSession, minutes: Sequence[BarRow]) -> BarRow:
    """Return the exchange's daily bar of these minutes of the extended session, stamped New York midnight.

    As exchanges do it, prices are those of the regular session with its closing auction, which is the first price of
    the minute that begins at the close; volume is that of all hours.
    """
    regular = [row for row in minutes if session.regular.contains(Timestamp(row["timestamp"]))]
    auction = [row["open"] for row in minutes if row["timestamp"] == session.closes.moment]
    volume = sum(row["volume"] for row in minutes)
    return {
        "timestamp": session.trading_date.midnight.moment,
        "open": regular[0]["open"],
        "high": max(*(row["high"] for row in regular), *auction),
        "low": min(*(row["low"] for row in regular), *auction),
        "close": auction[0] if auction else regular[-1]["close"],
        "volume": volume,
        "trade_count": sum(row["trade_count"] for row in minutes),
        "vwap": round(sum(row["vwap"] * row["volume"] for row in minutes) / volume, 4),
    }


def _minutes(session: TradingSession, base: float) -> list[BarRow]:
    start, end = session.extended.start, session.extended.end
    moments = [start.plus(STEP * number) for number in range((end.moment - start.moment) // STEP)]
    moments.append(end.plus(-MINUTE))
    return [_bar(moment, base, number) for number, moment in enumerate(moments)]


def _bar(moment: Timestamp, base: float, number: int) -> BarRow:
    return bar(str(moment), round(base + number / 100, 2), volume=1000.0 + number, trade_count=10 + number)
