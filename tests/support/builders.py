"""Short functions that build the objects most tests need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar
from marketpipe.testing import bar_table, sessions

CALENDAR = ExchangeCalendar(latest=TradingDate.parse("2026-12-31"))


def day(symbol: str, trading_date: str) -> SymbolDay:
    return SymbolDay(Symbol(symbol), TradingDate.parse(trading_date))


def columnar(*parts: tuple[SymbolDay, Sequence[dict[str, Any]]], whole: bool = True) -> ArrowBars:
    """Return bars of several symbol-days; those in ``whole`` have the window of their extended session as final."""
    slices, offset = [], 0
    for symbol_day, rows in parts:
        session = sessions(str(symbol_day.trading_date), str(symbol_day.trading_date))
        window = session[0].extended if whole and session else None
        slices.append(SymbolDaySlice(symbol_day, offset, len(rows), window))
        offset += len(rows)
    return ArrowBars(bar_table([row for _, rows in parts for row in rows]), tuple(slices))
