"""Short functions that build the objects most tests need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

CALENDAR = ExchangeCalendar(latest=TradingDate.parse("2026-12-31"))


def day(symbol: str, trading_date: str) -> SymbolDay:
    return SymbolDay(Symbol(symbol), TradingDate.parse(trading_date))


def sessions(first: str, last: str) -> tuple[TradingSession, ...]:
    """Return the sessions of the New York Stock Exchange; both dates are inclusive."""
    return CALENDAR.sessions(TradingDate.parse(first), TradingDate.parse(last))


def request(
    symbols: Sequence[str],
    first: str,
    last: str,
    *,
    kind: SessionKind = SessionKind.EXTENDED,
    final: bool = True,
    batch_id: int = 1,
) -> BarsRequest:
    asked = tuple(AskedSession(session, session.window(kind), final) for session in sessions(first, last))
    return BarsRequest(batch_id, tuple(map(Symbol, symbols)), asked, kind)


def bar(timestamp: str, price: float = 100.0, **changes: Any) -> dict[str, Any]:
    """Return one canonical row: a valid bar at ``price``, with ``changes`` to its columns."""
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


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=BAR_SCHEMA)


def columnar(*parts: tuple[SymbolDay, Sequence[dict[str, Any]]], whole: bool = True) -> ArrowBars:
    """Return bars of several symbol-days; those in ``whole`` have the window of their extended session as final."""
    slices, offset = [], 0
    for symbol_day, rows in parts:
        session = sessions(str(symbol_day.trading_date), str(symbol_day.trading_date))
        window = session[0].extended if whole and session else None
        slices.append(SymbolDaySlice(symbol_day, offset, len(rows), window))
        offset += len(rows)
    return ArrowBars(table([row for _, rows in parts for row in rows]), tuple(slices))
