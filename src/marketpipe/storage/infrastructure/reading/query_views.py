"""The views that SQL sees: the stored bars of every timeframe, and what is made of the minutes where no file has it.

``bars`` are the minutes. ``bars_5m`` … ``bars_1d`` are files of aggregates; for months without one, they are made of
the minutes of these months whenever they are read (ADR 0031). ``bars_1w`` and ``bars_1mo`` are made of days.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Final, NoReturn

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.cascade import view_of_minutes
from marketpipe.storage.infrastructure.aggregates.read_copies import OpenedCopies
from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.official.daily_bars import (
    FIRST_SESSIONS,
    PERIOD_UNITS,
    days_of_periods,
    first_sessions,
    periods_sql,
)
from marketpipe.storage.infrastructure.reading.consistent_reading import Fingerprints, fingerprints_below
from marketpipe.storage.infrastructure.reading.minute_files import ABSENT, MinuteFiles
from marketpipe.storage.infrastructure.reading.minute_sources import (
    COLUMNS,
    MinuteSources,
    bars_in,
    literal,
    quoted,
)
from marketpipe.storage.infrastructure.reading.needed_bars import ALL, NOTHING, NeededBars
from marketpipe.storage.infrastructure.reading.needed_files import (
    findable,
    needed_folders,
    needed_months,
    needed_patterns,
    needed_years,
)
from marketpipe.storage.infrastructure.reading.selected_bars import Sessions
from marketpipe.storage.infrastructure.reading.session_hours import UNKNOWN, SessionColumns, session_table
from marketpipe.storage.infrastructure.reading.source_files import SourceFiles
from marketpipe.storage.infrastructure.store_layout import MONTH_FOLDER, PARQUET, YEAR_FOLDER

Connection = duckdb.DuckDBPyConnection
Unmade = Mapping[str, Sequence[MonthPartition]]
"""The files of aggregates that do not exist, each with the months whose minutes it would be made from."""

EMPTY: Final = (
    "SELECT ''::VARCHAR AS symbol, DATE '1970-01-01' AS trading_date, "
    "TIMESTAMPTZ '1970-01-01 00:00:00Z' AS timestamp, 0.0::DOUBLE AS open, 0.0::DOUBLE AS high, 0.0::DOUBLE AS low, "
    "0.0::DOUBLE AS close, 0.0::DOUBLE AS volume, 0::BIGINT AS trade_count, 0.0::DOUBLE AS vwap WHERE false"
)
COPIED: Final = "copied_minutes"
COPIED_BARS: Final = "SELECT symbol, trading_date, {columns} FROM {source}"
COPY_TYPES: Final = "{'symbol': VARCHAR, 'year': INT}"
INTRADAY_TYPES: Final = "{'symbol': VARCHAR, 'year': INT, 'timeframe': VARCHAR}"
DAY_TYPES: Final = "{'symbol': VARCHAR}"
INTRADAY: Final = "CREATE VIEW {name} AS SELECT *, {session} AS session FROM ({bars})"
# As ``merged_days``. A window, and no join: a condition on the symbol then reaches both kinds of files.
DAYS: Final = """
CREATE VIEW {name} AS
SELECT * EXCLUDE (choice) FROM (
    SELECT *, row_number() OVER (PARTITION BY symbol, trading_date, timestamp ORDER BY source DESC) AS choice
    FROM (SELECT *, 'official' AS source FROM ({official}) UNION ALL SELECT *, 'minutes' AS source FROM ({made}))
) WHERE choice = 1
"""
SESSIONS: Final = "calendar.sessions"
LISTING: Final = re.compile(r"\b(show|desc|describe|summarize)\b", re.IGNORECASE)
LONGEST_PERIOD: Final = 31
"""Days. The trading date of a week or a month is one of its days, and the others are as near to it."""


class QueryViews:
    """The views of one query: those that it names. If it lists views, the others have their columns and no bars.

    Which files there are is found by ``fingerprints``: call it before ``create``.
    """

    def __init__(
        self,
        source: SourceFiles,
        sql: str,
        needed: Mapping[str, NeededBars],
        sessions: Sessions,
        closing_auction: Callable[[], int | None],
        identity: StoredIdentity,
        opened: OpenedCopies | None,
        scans: DayFileScans,
        session_columns: SessionColumns,
        *,
        copies: bool = True,
    ) -> None:
        """``needed`` has for views that the query names what it needs of them, if that is not all. ``sessions`` and
        ``closing_auction`` are asked for only if a view that the query names needs them. Without ``copies``, minutes
        are those of the day files. ``identity`` finds the dataset of the store, ``opened`` keeps opened read copies,
        ``scans`` what was found in folders, and ``session_columns`` what was made of sessions.
        """
        self._identity, self._session_columns = identity, session_columns
        self._opened, self._scans = opened, scans
        self._source, self._layout = source, source.layout
        self._sessions, self._closing_auction = sessions, closing_auction
        self._timeframes = tuple(timeframe for timeframe in Timeframe if _is_needed(timeframe, sql))
        self._lists_views = LISTING.search(sql) is not None
        self._bars_of_timeframe = {each: _needed_of(each, sql, needed) for each in self._timeframes}
        self._unmade: Mapping[Timeframe, Unmade] = {}
        self._chosen: Sequence[MonthPartition] | None = None
        self._found_dates: Sequence[TradingSession] | None = None
        self._may_read_copies, self._tables = copies, 0
        self._minutes: MinuteFiles | None = None
        self._sources = MinuteSources(self._layout)

    def answered(self, answer: Callable[[MinuteFiles], pa.Table | None]) -> pa.Table | None:
        """Return the answer that ``answer`` makes of the files of minutes, without DuckDB; None if it makes none, or if
        there are no copies. After ``fingerprints``.
        """
        return None if self._minutes is None else answer(self._minutes)

    @property
    def reads_copies(self) -> bool:
        return self._minutes is not None and bool(self._minutes.copies)

    def fingerprints(self) -> Fingerprints:
        """Return the fingerprint of every file that the query may read, and of those that do not exist yet.

        So a query is run again if a file of aggregates appears meanwhile whose bars it has made of minutes.
        """
        self._source.survey(self._union_of_needs(self._timeframes), self._timeframes)
        aggregated = [each for each in self._timeframes if each.is_aggregated]
        needed = self._union_of_needs(aggregated)
        months = list(needed_months(self._layout, needed)) if aggregated else []
        self._unmade = {each: self._lacking(each, months) for each in aggregated}
        folders = (at for each in aggregated for root in self._roots_of(each) for at in needed_folders(root, needed))
        absent = dict.fromkeys((path for lacking in self._unmade.values() for path in lacking), ABSENT)
        minutes: Fingerprints = {}
        if Timeframe.MINUTE_1 in self._timeframes or any(self._unmade.values()):
            minutes = self._fingerprints_of_minutes()
            self._sources.survey(minutes)
        return {**absent, **minutes, **fingerprints_below(list(dict.fromkeys(folders)))}

    def _fingerprints_of_minutes(self) -> Fingerprints:
        """Day files are compared with their copies once, and not again if the copies are still the same after it."""
        needed = self._union_of_needs(
            [each for each in self._timeframes if each.is_aggregated or each is Timeframe.MINUTE_1]
        )
        if not self._may_read_copies or not os.path.isdir(self._layout.copies):
            self._minutes = None
            self._chosen = None if needed.are_all else list(needed_months(self._layout, needed))
            return fingerprints_below([self._layout.data] if self._chosen is None else self._folders(self._chosen))
        if self._minutes is None or not self._minutes.are_unchanged:
            self._minutes = MinuteFiles.found(
                self._layout, [*needed_months(self._layout, needed)], self._identity, self._opened, self._scans
            )
        return self._minutes.fingerprints()

    def _folders(self, months: Iterable[MonthPartition]) -> list[Path]:
        return [self._layout.month(month) for month in months]

    def _union_of_needs(self, timeframes: Iterable[Timeframe]) -> NeededBars:
        """Return what these need, at least."""
        return reduce(or_, (self._bars_of_timeframe[each] for each in timeframes), NOTHING)

    def create(self, connection: Connection) -> None:
        """Create the views. Raises ``ConfigurationError`` if the query names one of which there are no bars."""
        connection.execute("CREATE SCHEMA calendar")
        if any(self._unmade.values()):
            auction = self._closing_auction() if self._unmade.get(Timeframe.DAY_1) else None
            _fill(connection, SESSIONS, session_table(self._dates(), auction))
        for timeframe in Timeframe if self._lists_views else self._timeframes:
            if timeframe.is_made_of_days:
                self._create_view_of_periods(connection, timeframe)
            elif timeframe.is_intraday:
                self._create_view(connection, timeframe)
            else:
                self._create_view_of_days(connection)

    def _create_view(self, connection: Connection, timeframe: Timeframe) -> None:
        name, session, bars = view_of(timeframe), UNKNOWN, EMPTY
        if timeframe in self._timeframes:
            session = self._session_columns.of(self._dates())
            bars = _union(self._stored_and_made(timeframe, connection)) or self._none_of(timeframe)
        connection.execute(INTRADAY.format(name=name, session=session, bars=bars))

    def _create_view_of_days(self, connection: Connection) -> None:
        timeframe, official, made = Timeframe.DAY_1, EMPTY, EMPTY
        if timeframe in self._timeframes:
            found = needed_patterns(
                self._layout.official, _name_of_files(timeframe), self._bars_of_timeframe[timeframe]
            )
            parts = self._stored_and_made(timeframe, connection)
            if not found and not parts:
                self._none_of(timeframe)
            official, made = bars_in(found, DAY_TYPES) if found else EMPTY, _union(parts) or EMPTY
        connection.execute(DAYS.format(name=view_of(timeframe), official=official, made=made))

    def _create_view_of_periods(self, connection: Connection, timeframe: Timeframe) -> None:
        table, firsts = f"calendar.first_of_{timeframe}", FIRST_SESSIONS.empty_table()
        if timeframe in self._timeframes and (years := self._years()):
            days = days_of_periods(TradingDate.parse(f"{min(years):04d}-01-01"), _end_of(max(years)), timeframe)
            firsts = first_sessions(self._sessions(*days), timeframe)
        _fill(connection, table, firsts)
        sql = periods_sql(timeframe, view_of(Timeframe.DAY_1), table)
        connection.execute(f"CREATE VIEW {view_of(timeframe)} AS {sql}")

    def _stored_and_made(self, timeframe: Timeframe, connection: Connection) -> list[str]:
        """Return the SQL of the bars in files, and of those made of minutes, as far as there are any."""
        if timeframe is Timeframe.MINUTE_1:
            return self._minutes_of(None, connection)
        is_day, root = timeframe is Timeframe.DAY_1, self._layout.aggregates_of(timeframe)
        files = needed_patterns(root, _name_of_files(timeframe), self._bars_of_timeframe[timeframe])
        parts = [bars_in(files, DAY_TYPES if is_day else INTRADAY_TYPES)] if files else []
        if unmade := self._unmade[timeframe]:
            months = {month for some in unmade.values() for month in some}
            if minutes := _union(self._minutes_of(months if files else None, connection)):
                parts.append(view_of_minutes(timeframe, minutes, SESSIONS))
        return parts

    def _minutes_of(self, months: Collection[MonthPartition] | None, connection: Connection) -> list[str]:
        """Return the SQL of the minutes of some months, or of all: of copies, and of day files and month files."""
        found = self._minutes
        if found is None:
            wanted = self._chosen if months is None else months
            self._source.bring(wanted)
            return self._sources.of_all() if wanted is None else self._sources.of_months(sorted(wanted))
        chosen, bars = found.among(months).opened()
        root = quoted(literal(self._layout.copies.resolve()))
        copies = [f"{root}/{copy.month.folder}.{PARQUET}" for copy in chosen.copies]
        parts = [bars_in(copies, COPY_TYPES)] if copies else []
        if bars is not None:
            self._tables += 1
            source = f"{COPIED}_{self._tables}"
            connection.register(source, bars)
            parts.append(COPIED_BARS.format(columns=COLUMNS, source=source))
        self._source.bring(chosen.others)
        return [*parts, *self._sources.of_months(chosen.others)]

    def _none_of(self, timeframe: Timeframe) -> str:
        """Return the SQL of no bars if the store has others than those that are needed.

        Raises ``ConfigurationError`` if it has none.
        """
        has_others = not self._bars_of_timeframe[timeframe].are_all and (
            next(self._layout.any_day_files(), None) is not None
            or any(needed_patterns(root, _name_of_files(timeframe), ALL) for root in self._roots_of(timeframe))
        )
        if not has_others:
            self._refuse(timeframe)
        return EMPTY

    def _refuse(self, timeframe: Timeframe) -> NoReturn:
        if timeframe.is_intraday and self._layout.official_symbols():
            raise ConfigurationError(
                f"the view {view_of(timeframe)} has no bars: this store has daily bars and no minutes; query bars_1d, "
                "bars_1w or bars_1mo"
            )
        data = self._layout.data.absolute()
        reason = "it holds no bars" if os.path.isdir(data) else "there is no such folder"
        raise ConfigurationError(
            f"the view {view_of(timeframe)} has no bars: {data}: {reason}; "
            "correct output_path, or ingest or import bars first"
        )

    def _lacking(self, timeframe: Timeframe, months: Iterable[MonthPartition]) -> Unmade:
        files = dict[str, list[MonthPartition]]()
        for month in months:
            if self._bars_of_timeframe[timeframe].has(month.year, month.month):
                files.setdefault(self._layout.aggregate(timeframe, month), []).append(month)
        return {path: some for path, some in files.items() if not os.path.lexists(path)}

    def _years(self) -> set[int]:
        """Return the years of the files that the query may read."""
        roots = {self._layout.data, *(root for each in self._timeframes for root in self._roots_of(each))}
        return needed_years(roots, self._union_of_needs(self._timeframes))

    def _dates(self) -> Sequence[TradingSession]:
        """Return the sessions of these years, as far as the calendar reaches."""
        if self._found_dates is None:
            years = self._years()
            first = TradingDate.parse(f"{min(years):04d}-01-01") if years else None
            self._found_dates = self._sessions(first, _end_of(max(years))) if first else ()
        return self._found_dates

    def _roots_of(self, timeframe: Timeframe) -> tuple[Path, ...]:
        """Return the folders of the bars; for days, weeks and months those of official days, then of aggregates."""
        if timeframe is Timeframe.MINUTE_1:
            return (self._layout.data,)
        if timeframe.is_intraday:
            return (self._layout.aggregates_of(timeframe),)
        return self._layout.official, self._layout.aggregates_of(Timeframe.DAY_1)


def view_of(timeframe: Timeframe) -> str:
    return "bars" if timeframe is Timeframe.MINUTE_1 else f"bars_{timeframe}"


def allowed_folders(roots: Iterable[Path]) -> str:
    """Return the resolved folders as SQL: each as it is, and with the characters escaped that a glob interprets."""
    resolved = [root.resolve() for root in roots]
    return ", ".join(f"'{quoted(form)}/'" for root in resolved for form in (root, literal(root)))


def _is_needed(timeframe: Timeframe, sql: str) -> bool:
    """Return whether a query names the view, or one that is made of it."""
    return any(_names(each, sql) for each in (timeframe, *(PERIOD_UNITS if timeframe is Timeframe.DAY_1 else ())))


def _names(timeframe: Timeframe, sql: str) -> bool:
    return re.search(rf"\b{view_of(timeframe)}\b", sql, re.IGNORECASE) is not None


def _needed_of(timeframe: Timeframe, sql: str, needed: Mapping[str, NeededBars]) -> NeededBars:
    """Return what a query needs of a timeframe, for its view and for those that are made of it."""
    whole = PERIOD_UNITS if timeframe is Timeframe.DAY_1 else ()
    views = [(each, LONGEST_PERIOD if each.is_made_of_days else 0) for each in (timeframe, *whole) if _names(each, sql)]
    found = (needed.get(view_of(each), ALL).widened(days) for each, days in views)
    return findable(reduce(or_, found, NOTHING))


def _name_of_files(timeframe: Timeframe) -> str:
    """Return the pattern of files below the folder of a symbol; those of minutes have others."""
    return f"{MONTH_FOLDER if timeframe.is_intraday else YEAR_FOLDER}.{PARQUET}"


def _fill(connection: Connection, table: str, rows: pa.Table) -> None:
    connection.register("rows_of_a_table", rows)
    connection.execute(f"CREATE TABLE {table} AS SELECT * FROM rows_of_a_table")
    connection.unregister("rows_of_a_table")


def _union(parts: Iterable[str]) -> str:
    return " UNION ALL ".join(f"FROM ({part})" for part in parts)


def _end_of(year: int) -> TradingDate:
    return TradingDate.parse(f"{year:04d}-12-31")
