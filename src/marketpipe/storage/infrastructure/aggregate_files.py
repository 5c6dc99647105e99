from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from attrs import field, frozen

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.refresh_count import RefreshCount
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.aggregate_freshness import (
    FileLook,
    Sources,
    looks_fresh,
    looks_of,
    recorded_sources,
    source_digest,
    stamp_of,
)
from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.parquet_reader import read_bars
from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter
from marketpipe.storage.infrastructure.store_layout import StoreLayout


@frozen
class _AggregateFile:
    """One file and the months of minutes it is made from: one month for intraday bars, a year's for daily ones."""

    timeframe: Timeframe
    path: Path
    period: str
    months: tuple[MonthPartition, ...] = field(repr=False)


@frozen
class _Stale:
    """``changed`` months have to be made anew; ``stamp`` and ``sources`` are those of the minutes as they are now."""

    file: _AggregateFile
    changed: tuple[MonthPartition, ...]
    sources: Sources
    stamp: int


class AggregateFiles:
    """Keeps the aggregate files of a store in agreement with its minutes, and touches no other file."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        aggregator: DuckDBAggregator,
        writer: ParquetWriter,
        files: DurableFiles,
    ) -> None:
        self._layout, self._identity, self._aggregator = layout, identity, aggregator
        self._writer, self._files = writer, files

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        count = RefreshCount(0, 0)
        for _, group in groupby(self._layout.months(symbol), key=lambda month: month.year):
            year = tuple(group)
            wanted = [month for month in year if _between(month, first, last)]
            if wanted:
                count += self._refresh_year(year, wanted, timeframes)
        return count

    def _refresh_year(
        self, year: tuple[MonthPartition, ...], wanted: Sequence[MonthPartition], timeframes: Sequence[Timeframe]
    ) -> RefreshCount:
        files = self._files_of(year, wanted, timeframes)
        look_at, digest_of = cache(self._looks), cache(self._digest)  # every timeframe has the same minutes
        stale = [found for file in files if (found := self._find_stale(file, look_at, digest_of))]
        made = {
            month: self._aggregator.aggregate(month, [item.file.timeframe for item in stale if month in item.changed])
            for month in sorted({month for item in stale for month in item.changed})
        }
        for item in stale:
            self._write(item, {month: made[month][item.file.timeframe] for month in item.changed})
        return RefreshCount(len(stale), len(files) - len(stale))

    def _files_of(
        self, year: tuple[MonthPartition, ...], wanted: Sequence[MonthPartition], timeframes: Sequence[Timeframe]
    ) -> list[_AggregateFile]:
        files = []
        for timeframe in timeframes:
            groups = [(month,) for month in wanted] if timeframe.is_intraday else [year]
            for months in groups:
                period = f"{months[0]}" if timeframe.is_intraday else f"{months[0].year:04d}"
                files.append(_AggregateFile(timeframe, self._layout.aggregate(timeframe, months[0]), period, months))
        return files

    def _find_stale(
        self,
        file: _AggregateFile,
        look_at: Callable[[MonthPartition], list[FileLook]],
        digest_of: Callable[[MonthPartition], str],
    ) -> _Stale | None:
        """None where the file agrees with its minutes; a copied tree gets its modification times back."""
        stamp = stamp_of(look for month in file.months for look in look_at(month))
        if looks_fresh(file.path, stamp):
            return None
        recorded = recorded_sources(file.path)
        sources = {**recorded, **{str(month): digest_of(month) for month in file.months}}
        if recorded == sources:
            self._files.stamp(file.path, stamp)
            return None
        changed = tuple(month for month in file.months if recorded.get(str(month)) != sources[str(month)])
        return _Stale(file, changed, sources, stamp)

    def _looks(self, month: MonthPartition) -> list[FileLook]:
        return looks_of(self._layout.day_files(month))

    def _digest(self, month: MonthPartition) -> str:
        return source_digest(self._layout.day_files(month))

    def _write(self, item: _Stale, made: Mapping[MonthPartition, pa.Table]) -> None:
        file = item.file
        kept = [self._unchanged_months(item)] if len(item.changed) < len(item.sources) else []
        bars = pa.concat_tables([*kept, *made.values()]).sort_by("timestamp")
        symbol = file.months[0].symbol
        metadata = StorageMetadata(self._identity, symbol, file.period, file.timeframe, SCHEMA_VERSION, item.sources)
        content = self._writer.encode_bars(bars, metadata.as_mapping())
        self._files.publish({file.path: content}, modified_ns=item.stamp)

    def _unchanged_months(self, item: _Stale) -> pa.Table:
        """Those too whose minutes are gone: what cannot be made anew stays."""
        daily = read_bars(item.file.path).select(BAR_SCHEMA.names)
        made = pa.array([month.month for month in item.changed], pa.int64())
        # New York midnight lies on the same date in UTC
        return daily.filter(pc.invert(pc.is_in(pc.month(daily["timestamp"]), made)))


def _between(month: MonthPartition, first: TradingDate | None, last: TradingDate | None) -> bool:
    number = month.year, month.month
    after = first is None or (first.day.year, first.day.month) <= number
    return after and (last is None or number <= (last.day.year, last.day.month))
