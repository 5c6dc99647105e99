from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.storage.domain.refresh_count import RefreshCount
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.aggregate_freshness import (
    AggregateFile,
    Comparison,
    MinutesNow,
    Months,
    aggregate_files,
    years_between,
)
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.parquet_reader import read_bars
from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter
from marketpipe.storage.infrastructure.store_layout import StoreLayout

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator, Made


class AggregateFiles:
    """Keeps the aggregate files of a store in agreement with its minutes, and touches no other file."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        new_aggregator: Callable[[], DuckDBAggregator],
        writer: ParquetWriter,
        files: DurableFiles,
    ) -> None:
        """An aggregator is made only where a file has to be: where all agree with their minutes nobody needs DuckDB."""
        self._layout, self._identity, self._new_aggregator = layout, identity, new_aggregator
        self._writer, self._files = writer, files

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount | None:
        unchanged = 0
        for year, wanted in years_between(self._layout, symbol, first, last):
            minutes = MinutesNow(self._layout, year, timeframes)
            for file in aggregate_files(self._layout, year, wanted, timeframes):
                if not minutes.are_stamped_on(file):
                    return None
                unchanged += 1
        return RefreshCount(0, unchanged)

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        years = years_between(self._layout, symbol, first, last)
        counts = (self._refresh_year(year, wanted, timeframes) for year, wanted in years)
        return sum(counts, start=RefreshCount(0, 0))

    def _refresh_year(self, year: Months, wanted: Months, timeframes: Sequence[Timeframe]) -> RefreshCount:
        files = list(aggregate_files(self._layout, year, wanted, timeframes))
        minutes = MinutesNow(self._layout, year, timeframes)
        stale = [found for file in files if (found := self._find_stale(file, minutes))]
        if stale:
            self._write_all(stale, self._made_anew(stale, minutes))
        return RefreshCount(len(stale), len(files) - len(stale))

    def _find_stale(self, file: AggregateFile, minutes: MinutesNow) -> Comparison | None:
        """None where the file agrees with its minutes; a copied tree gets its modification times back."""
        found = minutes.compare(file)
        if found is None or found.changed:
            return found
        self._files.stamp(file.path, found.stamp)
        return None

    def _made_anew(self, stale: Sequence[Comparison], minutes: MinutesNow) -> Made:
        """Whatever any of them needs, in one pass over the minutes."""
        months = sorted({month for item in stale for month in item.changed})
        timeframes = list(dict.fromkeys(item.file.timeframe for item in stale))
        return self._new_aggregator().aggregate({month: minutes.bars(month) for month in months}, timeframes)

    def _write_all(self, stale: Sequence[Comparison], made: Made) -> None:
        """The files of a year together, which takes the fewest syncs."""
        with self._files.group() as group:
            for item in stale:
                group.add(item.file.path, self._encoded(item, made), item.stamp)

    def _encoded(self, item: Comparison, made: Made) -> bytes:
        file, symbol = item.file, item.file.months[0].symbol
        bars = pa.concat_tables([made[month][file.timeframe] for month in item.changed])
        if len(item.changed) < len(item.sources):
            bars = pa.concat_tables([self._unchanged_months(item), bars]).sort_by("timestamp")
        metadata = StorageMetadata(self._identity, symbol, file.period, file.timeframe, SCHEMA_VERSION, item.sources)
        return self._writer.encode_bars(bars, metadata.as_mapping())

    def _unchanged_months(self, item: Comparison) -> pa.Table:
        """Those too whose minutes are gone: what cannot be made anew stays."""
        daily = read_bars(item.file.path).select(BAR_SCHEMA.names)
        made = pa.array([month.month for month in item.changed], pa.int64())
        # New York midnight lies on the same date in UTC
        return daily.filter(pc.invert(pc.is_in(pc.month(daily["timestamp"]), made)))
