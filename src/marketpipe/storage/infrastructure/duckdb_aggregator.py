from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import duckdb
import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregate_sql import cascade
from marketpipe.storage.infrastructure.session_hours import HourTable

MONTHS_REMEMBERED = 240
_LOCK = threading.Lock()
Minutes = Mapping[MonthPartition, pa.Table]
Made = Mapping[MonthPartition, Mapping[Timeframe, pa.Table]]


class DuckDBAggregator:
    """Minutes of one symbol into every wanted timeframe, by DuckDB on one thread: the same every time.

    Several threads may each aggregate a symbol at once.
    """

    def __init__(self, calendar: TradingCalendar) -> None:
        self._hours = lru_cache(MONTHS_REMEMBERED)(lambda first, last: HourTable.of(calendar.sessions(first, last)))

    def aggregate(self, minutes: Minutes, timeframes: Sequence[Timeframe]) -> Made:
        """In one pass, whose price is that of the first month: for each further one it is small.

        No bar spans two dates, so every month is made as if it were alone, and every day as if all of its month were
        there. Raises ``PartitionUnreadableError`` for bars of which nothing can be made.
        """
        if not minutes or not timeframes:
            return {month: dict.fromkeys(timeframes, BAR_SCHEMA.empty_table()) for month in minutes}
        months = sorted(minutes, key=lambda month: month.first)
        parts = [self._hours(month.first, month.last).keyed(minutes[month]) for month in months]
        made = self._run(cascade(timeframes), pa.concat_tables(parts).combine_chunks(), months)
        return self._cut(made, months, timeframes)

    def _run(self, statement: str, minutes: pa.Table, months: Sequence[MonthPartition]) -> pa.Table:
        try:
            with _cursor() as cursor:
                cursor.register("minutes", minutes)
                return cursor.sql(statement).to_arrow_table()
        except duckdb.Error as error:
            said, some = str(error).partition("\n")[0], f"{months[0].symbol} between {months[0]} and {months[-1]}"
            raise PartitionUnreadableError(f"cannot aggregate {some}: {said}; ingest these months again") from error

    def _cut(self, made: pa.Table, months: Sequence[MonthPartition], timeframes: Sequence[Timeframe]) -> Made:
        """``made`` lies by timeframe, then time."""
        length, time = (made[name].to_numpy() for name in ("minutes", "time"))
        bars = made.drop_columns("minutes").rename_columns(BAR_SCHEMA.names).cast(BAR_SCHEMA)
        found: dict[MonthPartition, dict[Timeframe, pa.Table]] = {month: {} for month in months}
        for timeframe in timeframes:
            start, end = np.searchsorted(length, (timeframe.minutes, timeframe.minutes + 1))
            for month in months:
                bounds = [day.midnight.epoch_micros for day in (month.first, month.last.plus_days(1))]
                first, after = start + np.searchsorted(time[start:end], bounds)
                found[month][timeframe] = self._of(month, timeframe, bars.slice(first, after - first))
        return found

    def _of(self, month: MonthPartition, timeframe: Timeframe, bars: pa.Table) -> pa.Table:
        return bars if timeframe.is_intraday else self._hours(month.first, month.last).days(bars)


def _cursor() -> duckdb.DuckDBPyConnection:
    with _LOCK:
        return _database().cursor()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """In memory, and of the whole process: nothing is kept in it, and to make one takes as long as a month of bars."""
    return duckdb.connect(config={"threads": 1})
