"""Minute bars to bars of every timeframe, in one pass over the minutes (``buckets.py``). See ADR 0006 and ADR 0045.

Each session has three parts: before the open, the regular session, after the close. A part makes one daily bar, and
that of the regular session is chosen afterwards; the minute of the closing auction, which begins at the close or later,
is added to it (ADR 0021).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingCalendar, TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import TIMESTAMP
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.buckets import made_of
from marketpipe.storage.infrastructure.official.daily_bars import days_of_periods, first_sessions, periods_sql
from marketpipe.storage.infrastructure.parquet_files import Int64s, times_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COLUMNS: Final = "open", "high", "low", "close", "volume", "trade_count", "vwap"


@frozen(eq=False)
class SessionPartTable:
    """The parts of sessions, three a session, ascending. Times are in microseconds since 1970.

    ``day_starts`` are the midnights in New York of the trading dates; ``regular`` marks the regular sessions.
    ``auctions`` has the minute of each regular session's closing auction, none if it is not known where it is.
    """

    starts: Int64s
    ends: Int64s
    day_starts: Int64s
    regular: npt.NDArray[np.bool_]
    auctions: Int64s

    @classmethod
    def of(cls, sessions: Sequence[TradingSession], closing_auction: int | None = None) -> SessionPartTable:
        rows = [row for session in sessions for row in _hours(session)]
        table = np.array(rows, np.int64).reshape(-1, 4)
        known = () if closing_auction is None else sessions
        auctions = np.array([session.auction(closing_auction or 0).start.epoch_micros for session in known], np.int64)
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), table[:, 3] == 1, auctions)

    def keyed(self, bars: pa.Table) -> pa.Table:
        """Return the bars within these parts, in the same order, each with the start of its part."""
        bars = bars.filter(pc.is_valid(bars["timestamp"])) if bars["timestamp"].null_count else bars
        time = times_of(bars)
        first, after = np.searchsorted(time, self.starts), np.searchsorted(time, self.ends)
        if _ascends(time) and (after - first).sum() == len(time):  # nearly always: each part is a slice
            hours = np.repeat(self.starts, after - first)
        else:
            row = np.searchsorted(self.starts, time, side="right") - 1
            inside = (row >= 0) & (time < np.append(self.ends, 0)[row])
            bars, time, hours = bars.filter(pa.array(inside)), time[inside], self.starts[row[inside]]
        return pa.table([hours, time, *(bars[name] for name in COLUMNS)], ["hours", "time", *COLUMNS])

    def auctioned(self, bars: pa.Table) -> pa.Table:
        """Return, of keyed bars, the minutes of closing auctions, each with the start of its regular session."""
        time = bars["time"].to_numpy()
        rows = np.flatnonzero(np.isin(time, self.auctions)) if not _ascends(time) else _equal_rows(time, self.auctions)
        sessions = self.starts[self.regular][np.searchsorted(self.auctions, time[rows])]
        return bars.take(pa.array(rows)).set_column(0, "hours", pa.array(sessions))

    def days(self, bars: pa.Table) -> pa.Table:
        """Return, of bars that are a part long, those of the regular session, with the midnight before it as time."""
        row = np.searchsorted(self.starts, times_of(bars))
        midnights = pa.array(self.day_starts[row]).cast(TIMESTAMP)
        return bars.set_column(0, bars.field(0), midnights).filter(pa.array(self.regular[row]))


@frozen(eq=False)
class MonthsOfHours:
    """The hours of some months, ascending, and the midnights in New York before and after each of them."""

    parts: SessionPartTable
    starts: Int64s
    ends: Int64s

    def keyed(self, tables: Sequence[pa.Table]) -> pa.Table | None:
        """Return the bars of the months, one table each, as ``SessionPartTable.keyed`` does.

        None if they are not in the order of time, or if a month has a bar of another date.
        """
        bars = pa.concat_tables(tables).combine_chunks()
        if bars["timestamp"].null_count or not _ascends(time := times_of(bars)):
            return None
        bounds = np.cumsum([0, *map(len, tables)])
        firsts, afters = np.searchsorted(time, self.starts), np.searchsorted(time, self.ends)
        # bars on no date of these months are in none of them
        are_apart = (firsts <= bounds[:-1]).all() and (afters >= bounds[1:]).all()
        return self.parts.keyed(bars) if are_apart else None

    def cut(self, made: pa.Table, timeframe: Timeframe) -> list[pa.Table]:
        """Split bars of a timeframe, in the order of time, into the months."""
        bars = made if timeframe.is_intraday else self.parts.days(made)
        time = times_of(bars)
        bounds = zip(np.searchsorted(time, self.starts), np.searchsorted(time, self.ends), strict=True)
        return [bars.slice(first, after - first) for first, after in bounds]


def _ascends(time: Int64s) -> bool:
    return bool((time[1:] >= time[:-1]).all())


def _equal_rows(time: Int64s, wanted: Int64s) -> Int64s:
    """Return the rows of ascending times that have one of the ascending times ``wanted``."""
    first, after = np.searchsorted(time, wanted), np.searchsorted(time, wanted, side="right")
    counts = after - first
    return np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


def _hours(session: TradingSession) -> list[tuple[int, int, int, bool]]:
    day = session.trading_date.midnight.epoch_micros
    bounds = session.extended.start, session.opens, session.closes, session.extended.end
    marks = [moment.epoch_micros for moment in bounds]
    return [(marks[i], marks[i + 1], day, i == 1) for i in range(3)]


DATED: Final = "(SELECT *, CAST(timestamp AT TIME ZONE 'America/New_York' AS DATE) AS trading_date FROM bars)"
SPANS_CACHED: Final = 64
"""So many spans of months; of each the hours of up to 60,000 minutes are kept, some 20 kB."""
ANY: Final = Symbol("ANY")
"""The hours of a month are the same for every symbol."""
ROWS_TOGETHER: Final = 60_000
"""So many minutes are aggregated in one pass: more would not be faster, and take more memory."""
_LOCK = threading.Lock()
Minutes = Mapping[MonthPartition, pa.Table]
Made = Mapping[MonthPartition, Mapping[Timeframe, pa.Table]]


class BarAggregator:
    """Aggregates minutes of one symbol by columns, and days of many symbols to weeks and months by DuckDB.

    The same minutes give the same bars. Several threads may each aggregate a symbol at the same time.
    """

    def __init__(self, calendar: TradingCalendar, closing_auction: int | None = None) -> None:
        """``closing_auction`` is the minute that belongs to a day, in minutes after the close; None for none."""
        self._calendar, self._closing_auction = calendar, closing_auction
        # The months of one symbol are those of the next: what is known of them is not worked out for each.
        self._hours = lru_cache(SPANS_CACHED)(self._hours_of)

    def aggregate(self, minutes: Minutes, timeframes: Sequence[Timeframe]) -> Made:
        """Return the bars of each month and timeframe.

        Raises ``PartitionUnreadableError`` for bars that cannot be aggregated.
        """
        # Several months in one pass: a part of its cost is that of the first month. No bar spans two dates, so the
        # result is that of each month alone.
        if not timeframes:
            return {month: {} for month in minutes}
        made = dict[MonthPartition, Mapping[Timeframe, pa.Table]]()
        for months in _groups(minutes):
            made.update(self._aggregate(months, minutes, timeframes))
        return made

    def _aggregate(self, months: Sequence[MonthPartition], minutes: Minutes, timeframes: Sequence[Timeframe]) -> Made:
        hours = self._hours(*((month.year, month.month) for month in months))
        tables = [minutes[month] for month in months]
        if (keyed := hours.keyed(tables)) is None:  # files that another program has written
            alone = [self._hours((month.year, month.month)).parts for month in months]
            keyed = pa.concat_tables([parts.keyed(bars) for parts, bars in zip(alone, tables, strict=True)])
        bars = keyed.combine_chunks()
        try:
            made = made_of(bars, hours.parts.auctioned(bars), timeframes)
        except OverflowError as error:
            if len(months) == 1:
                raise PartitionUnreadableError(f"cannot aggregate {months[0].symbol} {months[0]}: {error}") from error
            # what is too much for all together may be none of theirs
            return {
                month: made for each in months for month, made in self._aggregate([each], minutes, timeframes).items()
            }
        cut = {timeframe: hours.cut(made[timeframe], timeframe) for timeframe in timeframes}
        return {month: {timeframe: cut[timeframe][at] for timeframe in timeframes} for at, month in enumerate(months)}

    def periods(self, days: pa.Table, timeframe: Timeframe) -> pa.Table:
        """Return the weeks or months of days, in no order; both have the column symbol and those of ``DAY_SCHEMA``."""
        if not len(days):
            return days
        times = times_of(days)
        first, last = (TradingDate.of(Timestamp.from_epoch_micros(int(time))) for time in (times.min(), times.max()))
        sessions = self._calendar.reaching(*days_of_periods(first, last, timeframe))
        tables = {"bars": days, "first_sessions": first_sessions(sessions, timeframe)}
        made = _answer(periods_sql(timeframe, DATED, "first_sessions"), tables)
        return made.select(days.schema.names).cast(days.schema)

    def _hours_of(self, *months: tuple[int, int]) -> MonthsOfHours:
        spans = [MonthPartition(ANY, year, month) for year, month in months]
        sessions = [session for month in spans for session in self._calendar.sessions(month.first, month.last)]
        starts = [month.first.midnight.epoch_micros for month in spans]
        ends = [month.last.plus_days(1).midnight.epoch_micros for month in spans]
        parts = SessionPartTable.of(sessions, self._closing_auction)
        return MonthsOfHours(parts, np.array(starts, np.int64), np.array(ends, np.int64))


def _groups(minutes: Minutes) -> Iterator[list[MonthPartition]]:
    """Yield the months, ascending, in groups of about ``ROWS_TOGETHER``."""
    group, rows = list[MonthPartition](), 0
    for month in sorted(minutes, key=lambda month: month.first):
        if group and rows + len(minutes[month]) > ROWS_TOGETHER:
            yield group
            group, rows = [], 0
        group.append(month)
        rows += len(minutes[month])
    if group:
        yield group


def _answer(statement: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    with _cursor() as cursor:
        for name, table in tables.items():
            cursor.register(name, table)
        return cursor.sql(statement).to_arrow_table()


def _cursor() -> DuckDBPyConnection:
    with _LOCK:
        return _database().cursor()


@cache
def _database() -> DuckDBPyConnection:
    """Return the process's database: in memory, without tables. To open one takes as long as a month of bars."""
    import duckdb  # here: intraday and daily bars are made without it

    return duckdb.connect(config={"threads": 1})
