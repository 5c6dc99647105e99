"""A complete store below one folder, assembled as the composition root does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from attrs import Factory, define, field

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.storage.domain.compaction import CompactedMonth
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.aggregates.aggregate_files import AggregateFiles
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
from marketpipe.storage.infrastructure.compacted.day_access import read_day
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, sha256
from marketpipe.storage.infrastructure.partition_manager import PartitionManager
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.folder_exchange import FolderExchange
from marketpipe.storage.infrastructure.publishing.month_folders import MonthFolders
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader
from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
from marketpipe.storage.infrastructure.store_layout import VERSION_INDEX, StoreLayout
from marketpipe.testing import FakeClock
from tests.support.builders import CALENDAR, columnar

Row = dict[str, Any]

IDENTITY = DatasetIdentity("alpaca", "sip", "raw")
AGGREGATED = tuple(map(Timeframe.parse, ("5m", "15m", "30m", "1h", "4h", "1d")))
"""What a store of a test is aggregated to."""
NOTHING = columnar()


class NothingRecorded:
    """The ``VersionRegister`` of a store whose state was lost."""

    def symbols(self) -> frozenset[Symbol]:
        return frozenset()

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        return {}

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """Do nothing."""


@define
class StoreOnDisk:
    root: Path
    identity: DatasetIdentity = IDENTITY
    compression: str = "zstd"
    machine: Machine = field(default=HERE, kw_only=True)
    files: PublishedFiles = field(default=Factory(lambda store: DurableFiles(machine=store.machine), takes_self=True))
    register: VersionRegister = field(factory=NothingRecorded)
    clock: FakeClock = field(factory=FakeClock)
    closing_auction: int | None = None
    copy_format: str = "parquet"

    @property
    def layout(self) -> StoreLayout:
        roots = (self.root / name for name in ("data", "aggregates", "quarantine", "revisions"))
        return StoreLayout(*roots, machine=self.machine)

    @property
    def partitions(self) -> PartitionManager:
        store = self.layout, self.identity, ParquetWriter(self.compression), self.files
        return PartitionManager(*store, self.clock, self.register, FigureCalculator(CALENDAR), lambda: self.months)

    @property
    def months(self) -> MonthFolders:
        return MonthFolders(self.layout, self.files, self.exchange, nullcontext)

    @property
    def exchange(self) -> FolderExchange:
        return FolderExchange(self.files, self.layout.data, self.layout.revisions, machine=self.machine)

    @property
    def aggregates(self) -> AggregateFiles:
        writer, auction = ParquetWriter(self.compression), self.closing_auction
        store = self.layout, self.identity, self.aggregator, writer, self.files
        return AggregateFiles(*store, None, auction, self.copy_format)

    def aggregator(self) -> BarAggregator:
        return BarAggregator(CALENDAR, self.closing_auction)

    @property
    def loader(self) -> BarLoader:
        return BarLoader(self.layout, self.aggregator, CALENDAR.reaching)

    @property
    def query(self) -> DuckDBQuery:
        return DuckDBQuery(self.layout, CALENDAR.reaching, lambda: self.closing_auction)

    def compact(self, symbol: str, month: str = "2024-01", *, dry_run: bool = False) -> CompactedMonth | None:
        """Compact a month, written YYYY-MM, as if its days were recorded as they are."""
        at = MonthPartition(Symbol(symbol), *map(int, month.split("-")))
        return self.months.compact(at, recorded_as_stored(self.layout, at), self.identity, dry_run=dry_run)

    def keep(
        self, *parts: tuple[SymbolDay, Sequence[Row]], rejected: ArrowBars = NOTHING, whole: bool = True
    ) -> tuple[StoredSymbolDay, ...]:
        return self.partitions.store(columnar(*parts, whole=whole), rejected)

    def refresh(
        self,
        symbol: str,
        timeframes: Sequence[Timeframe] = AGGREGATED,
        first: str | None = None,
        last: str | None = None,
    ) -> AggregationReport:
        bounds = [None if date is None else TradingDate.parse(date) for date in (first, last)]
        return self.aggregates.refresh(Symbol(symbol), timeframes, bounds[0], bounds[1])

    def path(self, day: SymbolDay) -> Path:
        return self.layout.bars(day)

    def aggregate_path(self, symbol: str, timeframe: Timeframe, month: str) -> Path:
        """``month`` is written YYYY-MM."""
        year, number = map(int, month.split("-"))
        return Path(self.layout.aggregate(timeframe, MonthPartition(Symbol(symbol), year, number)))

    def rows(self, path: Path) -> list[Row]:
        """Return the bars of one file, without the column ``schema_version``."""
        found: list[Row] = pq.ParquetFile(path).read().drop_columns("schema_version").to_pylist()
        return found


def recorded_as_stored(layout: StoreLayout, month: MonthPartition) -> dict[TradingDate, RecordedVersion]:
    """Return what a state would have recorded of the days of a month as they are."""
    days = [(path, day) for path in layout.day_files(month) if (day := read_day(str(path), layout.disk))]
    return {
        TradingDate.parse(f"{month}-{path.name[4:6]}"): RecordedVersion(
            file_mark(len(day.content), day.modified_ns), None, sha256(day.content)
        )
        for path, day in days
    }


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below ``root`` except version indexes, by its relative path."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != VERSION_INDEX)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
