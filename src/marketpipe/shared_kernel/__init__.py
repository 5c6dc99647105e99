"""What every context uses: value objects, events, the bus, the errors and the trading calendar's port.

    domain/errors.py            the tree of errors
    domain/timestamp.py         Timestamp, TimeWindow, Clock (port)
    domain/trading_date.py      TradingDate, TradingSession, SessionKind, SessionHours, TradedMinutes,
                                TradingCalendar (port)
    domain/timeframe.py         Timeframe, DaySource
    domain/symbol.py            Symbol, SymbolDay, Outcome, SymbolDayOutcome
    domain/ohlcv_bar.py         OHLCVBar, Price, what must hold of a bar; ColumnarBars, SymbolDaySlice for bulk data
    domain/predicate.py         conditions as data, and Severity
    domain/bars_request.py      BarsRequest, AskedSession
    domain/store_inventory.py   what is recorded of stored files, and what the store really has (ports)
    domain/secret_text.py       SecretText
    events.py, event_bus.py     the ring's events, and the bus that carries them
    infrastructure/             Arrow tables, the exchange's calendar, New York dates of columns, the system clock

The kernel imports no context; a name belongs here only if at least two contexts use it.
"""
