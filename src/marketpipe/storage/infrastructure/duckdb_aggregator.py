from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregate_sql import READ_MINUTES, cascade, read_level
from marketpipe.storage.infrastructure.session_hours import session_hours
from marketpipe.storage.infrastructure.steady_reading import looks_at, read_steadily
from marketpipe.storage.infrastructure.store_layout import StoreLayout


class DuckDBAggregator:
    """Minutes of one symbol-month into every wanted timeframe, by DuckDB on one thread: the same every time."""

    def __init__(self, layout: StoreLayout, calendar: TradingCalendar) -> None:
        self._layout, self._calendar = layout, calendar

    def aggregate(self, month: MonthPartition, timeframes: Sequence[Timeframe]) -> Mapping[Timeframe, pa.Table]:
        """Of the day files that lie there now. Raises ``PartitionUnreadableError``."""
        return self.aggregate_files(month, self._layout.day_files(month), timeframes)

    def aggregate_files(
        self, month: MonthPartition, day_files: Sequence[Path], timeframes: Sequence[Timeframe]
    ) -> Mapping[Timeframe, pa.Table]:
        """Of these files of the month, ascending by date. No bar spans two dates, so each is made as if of all of them.

        Raises ``PartitionUnreadableError`` where one cannot be read: half a month is worse than an old one.
        """
        if not day_files:
            return dict.fromkeys(timeframes, BAR_SCHEMA.empty_table())
        return read_steadily(lambda: looks_at(day_files), lambda: self._made_of(month, day_files, timeframes))

    def _made_of(
        self, month: MonthPartition, day_files: Sequence[Path], timeframes: Sequence[Timeframe]
    ) -> Mapping[Timeframe, pa.Table]:
        files = [str(path) for path in day_files]
        try:
            with duckdb.connect(config={"threads": 1}) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.register("hours", session_hours(self._calendar.sessions(month.first, month.last)))
                connection.execute(READ_MINUTES, {"files": files})
                for statement in cascade(timeframes):
                    connection.execute(statement)
                return {timeframe: _read(connection, timeframe) for timeframe in timeframes}
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise PartitionUnreadableError(
                f"cannot aggregate {month.folder}: {said}. Remove the damaged file, then ingest again"
            ) from error


def _read(connection: duckdb.DuckDBPyConnection, timeframe: Timeframe) -> pa.Table:
    return connection.sql(read_level(timeframe)).to_arrow_table().cast(BAR_SCHEMA)
