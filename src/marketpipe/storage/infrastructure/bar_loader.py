"""Loading stored bars: as they are now, as of a former moment, by symbol-day to be validated, or to be compared."""

from __future__ import annotations

import calendar
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, ValidationError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars, differing_rows
from marketpipe.storage.domain.data_partition import MonthPartition, day_file
from marketpipe.storage.infrastructure.day_versions import KnownMoments, VersionIndex, merge_bars, moment_of
from marketpipe.storage.infrastructure.official.daily_bars import DAY_SCHEMA, days_of_periods, merged_days
from marketpipe.storage.infrastructure.official.official_reader import OfficialRows
from marketpipe.storage.infrastructure.parquet_files import (
    Int64s,
    bars_at,
    content_of,
    each,
    read_bars,
    scan_bars,
    sha256,
    times_of,
)
from marketpipe.storage.infrastructure.store_layout import StoreLayout, unreadable

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator


@frozen
class BarRange:
    """The bars of one symbol and timeframe between two trading dates, both inclusive."""

    symbol: Symbol
    first: TradingDate
    last: TradingDate
    timeframe: Timeframe

    @property
    def is_of_minutes(self) -> bool:
        return self.timeframe is Timeframe.MINUTE_1

    def days(self) -> Iterator[SymbolDay]:
        count = (self.last.day - self.first.day).days + 1
        return (SymbolDay(self.symbol, self.first.plus_days(i)) for i in range(count))

    def files(self, layout: StoreLayout) -> list[str]:
        """Return the paths where these bars would be, ascending by time; they are computed, and no folder is listed."""
        if self.is_of_minutes:
            months = ((f"{layout.data}/{month.folder}", days) for month, days in self._months())
            return [f"{folder}/{day_file(day)}" for folder, days in months for day in days]
        return list(dict.fromkeys(layout.aggregate(self.timeframe, month) for month, _ in self._months()))

    def official_files(self, layout: StoreLayout) -> list[str]:
        """Return the paths where the exchange's own days would be, ascending."""
        years = range(self.first.day.year, self.last.day.year + 1)
        return [str(layout.official_days(self.symbol, year)) for year in years]

    def within(self, bars: pa.Table) -> pa.Table:
        """Return the bars of these dates; a file of aggregates has others too."""
        start, end = (day.midnight.epoch_micros for day in (self.first, self.last.plus_days(1)))
        times = times_of(bars)
        inside = (times >= start) & (times < end)
        return bars if inside.all() else bars.filter(pa.array(inside))

    def _months(self) -> Iterator[tuple[MonthPartition, range]]:
        """Yield the months, each with those of its days that are wanted."""
        first, last = self.first.day, self.last.day
        year, month = first.year, first.month
        while (year, month) <= (last.year, last.month):
            start = first.day if (year, month) == (first.year, first.month) else 1
            ends_here = (year, month) == (last.year, last.month)
            end = last.day if ends_here else calendar.monthrange(year, month)[1]
            yield MonthPartition(self.symbol, year, month), range(start, end + 1)
            year, month = year + month // 12, month % 12 + 1

    def __str__(self) -> str:
        return f"{self.symbol} between {self.first} and {self.last}"


@frozen
class VersionFile:
    """The version of a symbol-day at a moment. ``path`` may be its day file, which may be replaced at any time."""

    symbol_day: SymbolDay
    known_since: Timestamp
    path: Path


class AsOfReader:
    """Bars as the store had them at a moment. Only minutes have revisions: other timeframes are made from them."""

    def __init__(self, layout: StoreLayout, new_aggregator: Callable[[], DuckDBAggregator]) -> None:
        self._layout, self._index, self._new_aggregator = layout, VersionIndex(layout), new_aggregator

    def read(self, wanted: BarRange, as_of: Timestamp) -> pa.Table:
        """Return the bars as they were at ``as_of``. Raises ``StorageError``, also for damaged files."""
        # The index is read once, whatever is published meanwhile: a file that is newer than it has its right time.
        times = self._times(wanted)
        versions = self.versions(wanted, as_of, times)
        try:
            bars = self._bars(wanted, versions)
        except PartitionUnreadableError:
            if self.versions(wanted, as_of, times) == versions:
                raise
        else:
            if self.versions(wanted, as_of, times) == versions:
                return bars
        # A file was replaced after its time was read, so that the bars may be too new. Read again: what was replaced
        # is a revision now, and revisions stay.
        return self.read(wanted, as_of)

    def versions(self, wanted: BarRange, as_of: Timestamp, times: _FileTimes | None = None) -> list[VersionFile]:
        """Return the version of each day, in the order of dates; none of a day of which nothing was known."""
        months, known = groupby(wanted.days(), key=MonthPartition.of), times or self._times(wanted)
        return [found for month, days in months for found in self._in_month(as_of, month, list(days), known)]

    def _times(self, wanted: BarRange) -> _FileTimes:
        return _FileTimes(self._index.of(wanted.symbol))

    def _in_month(
        self, moment: Timestamp, month: MonthPartition, days: list[SymbolDay], times: _FileTimes
    ) -> Iterator[VersionFile]:
        current = {day: since for day in days if (since := times.known_since(day, self._layout.bars(day)))}
        # The revisions after the files. A version becomes a revision before its file is replaced, so a reader that
        # has seen a file that is too new finds here what was there before it. The other way round, a version could
        # move from one place to the other between the two reads, and be seen in neither.
        former = {each.symbol_day: each for each in self._layout.revisions_of(month) if each.known_since <= moment}
        for day in days:
            if day in current and current[day] <= moment:
                yield VersionFile(day, current[day], self._layout.bars(day))
            elif day in former:  # they ascend: the newest remains
                yield VersionFile(day, former[day].known_since, self._layout.revision(former[day]))

    def _bars(self, wanted: BarRange, versions: Sequence[VersionFile]) -> pa.Table:
        if wanted.is_of_minutes:
            return scan_bars([version.path for version in versions])
        months = groupby(versions, key=lambda version: MonthPartition.of(version.symbol_day))
        minutes = {month: scan_bars([version.path for version in group]) for month, group in months}
        made = self._new_aggregator().aggregate(minutes, [wanted.timeframe]) if minutes else {}
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *(made[month][wanted.timeframe] for month in minutes)])


class _FileTimes:
    """Since when the day files of one symbol are known. A file is read only if the index does not have its time."""

    def __init__(self, moments: KnownMoments) -> None:
        self._moments, self._digests = moments, dict[tuple[str, int, int, int], str]()

    def known_since(self, day: SymbolDay, path: Path) -> Timestamp | None:
        """None if there is no file. Raises ``StorageError``; ``PartitionUnreadableError`` if it cannot be read."""
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(path, error) from error
        return self._moments.since(day.trading_date, moment_of(found), lambda: self._digest(path, found))

    def _digest(self, path: Path, found: os.stat_result) -> str:
        """Hash a file once for both scans, before and after its bars are read."""
        key = str(path), found.st_ino, found.st_size, found.st_mtime_ns
        if key not in self._digests:
            content = content_of(str(path))
            self._digests[key] = "" if content is None else sha256(content)
        return self._digests[key]


class ParquetStoredBars:
    """The stored minute bars, symbol-day by symbol-day: the adapter of ``StoredBars``."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def symbols(self) -> tuple[Symbol, ...]:
        return tuple(self._layout.symbols())

    def stored_days(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> Iterator[SymbolDay]:
        for symbol in sorted(symbols):
            for month in self._layout.months(symbol):
                for path in self._layout.day_files(month):
                    day = TradingDate.parse(f"{month}-{path.stem.partition('=')[2]}")
                    if first <= day <= last:
                        yield SymbolDay(symbol, day)

    def read(self, days: Sequence[SymbolDay]) -> ArrowBars:
        tables = [read_bars(self._layout.bars(day)) for day in days]
        offsets = accumulate((len(table) for table in tables), initial=0)
        parts = zip(days, offsets, tables, strict=False)
        slices = tuple(SymbolDaySlice(day, offset, len(table)) for day, offset, table in parts)
        return ArrowBars(pa.concat_tables(tables), slices)


SYMBOL = pa.field("symbol", pa.string())


class BarLoader:
    """Bars of any timeframe as one Arrow table. Paths are computed from symbols and dates; no tree is listed.

    An aggregator is made only for weeks, months and bars of a former moment: loading stored files needs no DuckDB.
    Days, weeks and months have the column ``source``.
    """

    def __init__(self, layout: StoreLayout, new_aggregator: Callable[[], DuckDBAggregator]) -> None:
        self._layout, self._as_of = layout, AsOfReader(layout, new_aggregator)
        self._new_aggregator, self._official = new_aggregator, OfficialRows(layout)

    def load(
        self,
        symbols: Sequence[Symbol],
        first: TradingDate,
        last: TradingDate,
        timeframe: Timeframe,
        as_of: Timestamp | None = None,
        source: DaySource | None = None,
    ) -> pa.Table:
        """Return the bars by symbol, in the given order, then by time; as they are now, or as of a moment.

        With a ``source``, only those that are from there. Raises ``PartitionUnreadableError``, and ``ValidationError``
        for a source of bars that have none.
        """
        if timeframe.is_intraday and source is not None:
            raise ValidationError(f"source: bars of {timeframe} have none; give 1d, 1w or 1mo, or no source")
        ranges = [BarRange(symbol, first, last, timeframe) for symbol in symbols]
        if timeframe.is_made_of_days:
            found = self._periods(ranges, as_of)
        else:
            found = self._bars(ranges, as_of) if timeframe.is_intraday else self._days(ranges, as_of)
        if source is not None:
            found = [bars.filter(pa.array(bars["source"].to_numpy() == str(source))) for bars in found]
        empty = BAR_SCHEMA.empty_table() if timeframe.is_intraday else DAY_SCHEMA.empty_table()
        return _named(pa.concat_tables([empty, *found]), [str(symbol) for symbol in symbols], [len(it) for it in found])

    def _bars(self, ranges: Sequence[BarRange], as_of: Timestamp | None) -> list[pa.Table]:
        """Return what was made from minutes, in the columns of bars."""
        if as_of is not None:
            return [self._as_of_moment(as_of, wanted) for wanted in ranges]
        return self._now(ranges, [wanted.files(self._layout) for wanted in ranges])

    def _days(self, ranges: Sequence[BarRange], as_of: Timestamp | None) -> list[pa.Table]:
        """Return the exchange's own days, and where there is none, those made from minutes."""
        if as_of is None:
            official = self._now(ranges, [wanted.official_files(self._layout) for wanted in ranges])
        else:
            official = [self._official_as_of(as_of, wanted) for wanted in ranges]
        return list(map(merged_days, official, self._bars(ranges, as_of)))

    def _periods(self, ranges: Sequence[BarRange], as_of: Timestamp | None) -> list[pa.Table]:
        """Return the weeks or months that begin between the dates, each of all its days."""
        whole = [_days_of(wanted) for wanted in ranges]
        found, names = self._days(whole, as_of), [str(number) for number in range(len(ranges))]
        days = _named(pa.concat_tables([DAY_SCHEMA.empty_table(), *found]), names, [len(bars) for bars in found])
        made = self._new_aggregator().periods(days, ranges[0].timeframe) if len(days) else days
        owners = made["symbol"].to_numpy()
        parts = [made.filter(pa.array(owners == name)).drop_columns("symbol").sort_by("timestamp") for name in names]
        return [wanted.within(part) for wanted, part in zip(ranges, parts, strict=True)]

    def _now(self, ranges: Sequence[BarRange], paths: Iterable[Sequence[str]]) -> list[pa.Table]:
        """Read the files of all symbols together: there may be a thousand symbols with a file each."""
        files = [[(wanted, path) for path in some] for wanted, some in zip(ranges, paths, strict=True)]
        read = iter(each(_read, [*chain.from_iterable(files)]))
        stored = ([bars for bars in islice(read, len(some)) if bars is not None] for some in files)
        return [_in_one(tables) for tables in stored]

    def _as_of_moment(self, as_of: Timestamp, wanted: BarRange) -> pa.Table:
        try:
            return self._as_of.read(wanted, as_of)
        except PartitionUnreadableError as error:
            raise _damage(wanted, error) from error

    def _official_as_of(self, as_of: Timestamp, wanted: BarRange) -> pa.Table:
        try:
            years = wanted.first.day.year, wanted.last.day.year
            return wanted.within(self._official.of(wanted.symbol, *years, as_of))
        except PartitionUnreadableError as error:
            raise _damage(wanted, error) from error


def _days_of(wanted: BarRange) -> BarRange:
    """Return the days of the weeks or months that begin between the dates; some may begin earlier."""
    if wanted.last < wanted.first:
        return wanted
    first, last = days_of_periods(wanted.first, wanted.last, wanted.timeframe)
    return BarRange(wanted.symbol, first, last, Timeframe.DAY_1)


def _read(file: tuple[BarRange, str]) -> pa.Table | None:
    wanted, path = file
    try:
        bars = bars_at(path)
    except PartitionUnreadableError as error:
        raise _damage(wanted, error) from error
    return bars if bars is None or wanted.is_of_minutes else wanted.within(bars)


def _damage(wanted: BarRange, error: PartitionUnreadableError) -> PartitionUnreadableError:
    return PartitionUnreadableError(f"a file of {wanted} is damaged: {error}")


def _in_one(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else BAR_SCHEMA.empty_table()


def _named(bars: pa.Table, symbols: Sequence[str], lengths: Sequence[int]) -> pa.Table:
    """Add the column of symbols; ``lengths`` are the numbers of bars of each."""
    which = pa.array(np.repeat(np.arange(len(symbols), dtype=np.int32), lengths))
    names = pa.DictionaryArray.from_arrays(which, pa.array(symbols, pa.string())).dictionary_decode()
    return bars.add_column(0, SYMBOL, names)


Floats = npt.NDArray[np.float64]

PRICES = ("open", "high", "low", "close")
SAME_RATIO = 2e-3
HALF_A_CENT = 0.005
VOLUME_ROUNDING = 0.5
FEWEST_BARS_OF_A_RATIO = 5
FEWEST_MOVED, MOST = 0.03, 0.5
"""Shares of the prices: below the first, what has changed are single bars."""
NEARLY_ALL, ALL_BUT_FEW = 0.9, 0.99
VERY_LITTLE = 1e-6


class ParquetBarComparer:
    """Compares what the provider returns now with the day files, bar by bar: what would storing it change?"""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def compare(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[DayComparison, ...]:
        good, bad = pa.table(accepted), pa.table(rejected)
        rejected_times = {part.symbol_day: times_of(bad.slice(part.offset, part.length)) for part in rejected.slices}
        nothing = np.empty(0, np.int64)
        return tuple(
            self._compare(part, good.slice(part.offset, part.length), rejected_times.get(part.symbol_day, nothing))
            for part in accepted.slices
        )

    def _compare(self, part: SymbolDaySlice, newer: pa.Table, rejected: Int64s) -> DayComparison:
        path = self._layout.bars(part.symbol_day)
        try:
            stored = read_bars(path).select(BAR_SCHEMA.names) if path.exists() else BAR_SCHEMA.empty_table()
        except PartitionUnreadableError as error:
            return DayComparison(part.symbol_day, error=f"{error}; run 'marketpipe ingest' to repair it")
        merged = merge_bars(stored, newer, rejected, part.final_window)
        return compare_bars(DayComparison(part.symbol_day), stored, merged)


def compare_bars(blank: DayComparison, old: pa.Table, new: pa.Table) -> DayComparison:
    """Return ``blank`` filled in. Both tables ascend by time, and have no time twice."""
    old_times, new_times = times_of(old), times_of(new)
    kept, still = np.isin(old_times, new_times), np.isin(new_times, old_times)
    before, after = old.filter(pa.array(kept)), new.filter(pa.array(still))
    changed = differing_rows(before, after)
    counted = evolve(
        blank,
        unchanged=int((~changed).sum()),
        changed=int(changed.sum()),
        added=int((~still).sum()),
        removed=int((~kept).sum()),
    )
    return _measured(counted, before, after) if changed.any() else counted


def _measured(counted: DayComparison, before: pa.Table, after: pa.Table) -> DayComparison:
    moves = [np.abs(_floats(after, name) / _floats(before, name) - 1) for name in PRICES]
    ratio = _constant(_floats(before, "close"), _floats(after, "close"), HALF_A_CENT)
    volumes = _constant(_floats(before, "volume"), _floats(after, "volume"), VOLUME_ROUNDING)
    return evolve(
        counted,
        largest_move=float(np.max(moves)),
        price_ratio=ratio,
        volume_ratio=volumes if ratio else None,
        scale=scale_of(*(np.concatenate([_floats(bars, name) for name in PRICES]) for bars in (before, after))),
    )


def scale_of(before: Floats, after: Floats) -> float | None:
    """Return the one ratio by which prices were adjusted again; None if there is none. Both have the same bars.

    Both sides may be rounded to cents, so that a small dividend moves only some of the prices, and by a cent. Those
    move all in one direction then; corrections of single bars do not, or leave more prices unexplained.
    """
    traded = before > 0
    old, new = before[traded], after[traded]
    moves = new - old
    moved = moves != 0
    share = float(moved.mean()) if len(old) else 0.0
    if share < FEWEST_MOVED:
        return None
    one_way = bool((moves[moved] > 0).all() or (moves[moved] < 0).all())
    for ratio in (float(np.median(new / old)), float(new.sum() / old.sum())):
        allowed = HALF_A_CENT * (1 + ratio) * (1 + VERY_LITTLE) + VERY_LITTLE * new
        explained = float((np.abs(new - ratio * old) <= allowed).mean())
        if ratio != 1 and explained >= (NEARLY_ALL if share >= MOST and one_way else ALL_BUT_FEW) and one_way:
            return ratio
    return None


def _constant(before: Floats, after: Floats, rounding: float) -> float | None:
    """Return after over before if it is the same for all bars, but for the rounding of both; else None."""
    traded = before > 0
    if traded.sum() < FEWEST_BARS_OF_A_RATIO:
        return None
    ratios = after[traded] / before[traded]
    typical = float(np.median(ratios))
    # both sides may have been rounded: to cents, or to whole units traded
    allowed = SAME_RATIO * typical + rounding * (1 + typical) / before[traded]
    return typical if bool((np.abs(ratios - typical) <= allowed).all()) else None


def _floats(bars: pa.Table, name: str) -> Floats:
    values: Floats = bars[name].to_numpy()
    return values
