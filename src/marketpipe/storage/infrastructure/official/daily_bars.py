"""Days, and the weeks and months that are made of them. See ADR 0021.

A day is the exchange's own bar if the provider gave one, and else the bar that was made from minutes. Both are merged
whenever days are read, by ``merged_days`` and by the view ``bars_1d``: an official day is in no aggregate file, so that
none is hidden by an aggregate that is stale or was never made.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.parquet_files import times_of

DAY_SCHEMA: Final = BAR_SCHEMA.append(pa.field("source", pa.string()))
"""The columns of days, weeks and months: those of bars, and where they are from (``DaySource``)."""
FIRST_SESSIONS: Final = pa.schema([("period", pa.date32()), ("first", pa.date32())])
PERIOD_UNITS: Final = {Timeframe.WEEK_1: "week", Timeframe.MONTH_1: "month"}
"""What DuckDB calls the periods."""

# Of each symbol and period. The numbers are added in the order of the days, so that the same days give the same bits. A
# period of days without a session, which only a wrong calendar can have, begins with the first of them.
PERIODS: Final = """
SELECT symbol, coalesce(first, opened) AS trading_date,
       CAST(coalesce(first, opened) AS TIMESTAMP) AT TIME ZONE 'America/New_York' AS timestamp,
       open, high, low, close, volume, trade_count, CASE WHEN weight > 0 THEN value / weight END AS vwap, source
FROM (
    SELECT symbol, CAST(date_trunc('{unit}', trading_date) AS DATE) AS period, min(trading_date) AS opened,
           arg_min(open, timestamp) AS open, max(high) AS high, min(low) AS low, arg_max(close, timestamp) AS close,
           fsum(volume ORDER BY timestamp) AS volume, CAST(sum(trade_count) AS BIGINT) AS trade_count,
           fsum(vwap * volume ORDER BY timestamp) AS value,
           fsum(CASE WHEN vwap IS NOT NULL THEN volume END ORDER BY timestamp) AS weight,
           CASE WHEN min(source) = max(source) THEN min(source) ELSE 'mixed' END AS source
    FROM {days} GROUP BY symbol, CAST(date_trunc('{unit}', trading_date) AS DATE)
) LEFT JOIN {first_sessions} USING (period)"""


def periods_sql(timeframe: Timeframe, days: str, first_sessions: str) -> str:
    """Return the SQL that makes weeks or months of a table of ``days``, whose symbols and trading dates are columns.

    ``first_sessions`` is a table of what the function of that name returns.
    """
    return PERIODS.format(unit=PERIOD_UNITS[timeframe], days=days, first_sessions=first_sessions)


def merged_days(official: pa.Table, made: pa.Table) -> pa.Table:
    """Return the days of one symbol, ascending, with their source; both are ascending and have the columns of bars."""
    times = times_of(official)
    others = made.filter(pa.array(~np.isin(times_of(made), times))) if len(official) else made
    days = pa.concat_tables([_of(official, DaySource.OFFICIAL), _of(others, DaySource.MINUTES)])
    return days if not len(official) or not len(others) else days.take(pa.array(np.argsort(times_of(days))))


def _of(bars: pa.Table, source: DaySource) -> pa.Table:
    return bars.append_column(DAY_SCHEMA.field("source"), pa.repeat(pa.scalar(str(source)), len(bars)))


def days_of_periods(first: TradingDate, last: TradingDate, timeframe: Timeframe) -> tuple[TradingDate, TradingDate]:
    """Return the dates, both inclusive, of whole weeks or months that have days between two dates, both inclusive."""
    start, end = _start(first.day, timeframe), _start(last.day, timeframe)
    # the last day of a period is the day before the next: a week has 7 days, and 31 days later it is the next month
    length = 7 if timeframe is Timeframe.WEEK_1 else 31
    if (date.max - end).days < length:
        return TradingDate(start), TradingDate(date.max)
    return TradingDate(start), TradingDate(_start(end + timedelta(days=length), timeframe) - timedelta(days=1))


def first_sessions(sessions: Iterable[TradingSession], timeframe: Timeframe) -> pa.Table:
    """Return each period's first day, Monday or the first of the month, with the trading date that opens the period."""
    firsts = dict[date, date]()
    for session in sessions:  # they ascend
        day = session.trading_date.day
        firsts.setdefault(_start(day, timeframe), day)
    return pa.table([list(firsts), list(firsts.values())], schema=FIRST_SESSIONS)


def _start(day: date, timeframe: Timeframe) -> date:
    return day - timedelta(days=day.weekday()) if timeframe is Timeframe.WEEK_1 else day.replace(day=1)
