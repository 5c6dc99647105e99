from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregate_sql import READ_MINUTES, cascade, read_level
from marketpipe.storage.infrastructure.session_hours import session_hours
from marketpipe.storage.infrastructure.store_layout import StoreLayout


class DuckDBAggregator:
    """Minutes of one symbol-month into every wanted timeframe, by DuckDB on one thread: the same every time."""

    def __init__(self, layout: StoreLayout, calendar: TradingCalendar) -> None:
        self._layout, self._calendar = layout, calendar

    def aggregate(self, month: MonthPartition, timeframes: Sequence[Timeframe]) -> Mapping[Timeframe, pa.Table]:
        """Raises ``StorageError`` where a day file cannot be read: half a month is worse than an old one."""
        files = [str(path) for path in self._layout.day_files(month)]
        if not files:
            return dict.fromkeys(timeframes, BAR_SCHEMA.empty_table())
        try:
            with duckdb.connect(config={"threads": 1}) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.register("hours", session_hours(self._sessions(month)))
                connection.execute(READ_MINUTES, {"files": files})
                for statement in cascade(timeframes):
                    connection.execute(statement)
                return {timeframe: _read(connection, timeframe) for timeframe in timeframes}
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise StorageError(
                f"cannot aggregate {month.folder}: {said}. Remove the damaged file, then ingest again"
            ) from error

    def _sessions(self, month: MonthPartition) -> Sequence[TradingSession]:
        first = TradingDate.parse(f"{month.year:04d}-{month.month:02d}-01")
        after = first.plus_days(31)
        last = TradingDate(after.day.replace(day=1)).plus_days(-1)
        return self._calendar.sessions(first, last)


def _read(connection: duckdb.DuckDBPyConnection, timeframe: Timeframe) -> pa.Table:
    return connection.sql(read_level(timeframe)).to_arrow_table().cast(BAR_SCHEMA)
