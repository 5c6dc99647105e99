from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.shared_parts import SharedParts
from marketpipe.shared_kernel.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from marketpipe.shared_kernel.domain.store_inventory import StoreInventory
    from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
    from marketpipe.storage.infrastructure.aggregate_files import AggregateFiles, ScannedYears
    from marketpipe.storage.infrastructure.bar_loader import BarLoader, ParquetStoredBars
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator
    from marketpipe.storage.infrastructure.duckdb_query import DuckDBQuery
    from marketpipe.storage.infrastructure.durable_files import DurableFiles
    from marketpipe.storage.infrastructure.file_inventory import StoredIdentity
    from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
    from marketpipe.storage.infrastructure.store_layout import StoreLayout

MOST_AGGREGATORS = 8
SYNCERS = 8
"""Files that are synced at once. They wait for the disk nearly all of the time."""


@define(slots=False)
class StorageParts(SharedParts):
    """The adapters of storage."""

    @cached_property
    def layout(self) -> StoreLayout:
        from marketpipe.storage.infrastructure.store_layout import StoreLayout

        config = self.config
        return StoreLayout(config.output_path, config.aggregates_path, config.quarantine_path, config.revisions_path)

    @cached_property
    def inventory(self) -> StoreInventory:
        from marketpipe.storage.infrastructure.file_inventory import FileInventory

        return FileInventory(self.layout, self.scanned_years)

    @cached_property
    def scanned_years(self) -> ScannedYears:
        from marketpipe.storage.infrastructure.aggregate_files import ScannedYears

        return ScannedYears()

    @property
    def refresher(self) -> AggregateRefresher:
        return self._refresher_of(self._aggregate_files())

    @property
    def refresher_after_a_plan(self) -> AggregateRefresher:
        """For when a plan has scanned all day files a moment ago."""
        return self._refresher_of(self._aggregate_files(self.scanned_years))

    def _refresher_of(self, files: AggregateFiles) -> AggregateRefresher:
        from marketpipe.storage.application.aggregate_refresher import AggregateRefresher

        return AggregateRefresher(files, self.bus, self.new_executor or _aggregators)

    def _aggregate_files(self, scanned: ScannedYears | None = None) -> AggregateFiles:
        from marketpipe.storage.infrastructure.aggregate_files import AggregateFiles

        identity = self.stored_identity.read()
        if identity is None:
            raise ConfigurationError(f"{self.config.output_path} holds no bars to aggregate; ingest some first")
        return AggregateFiles(self.layout, identity, lambda: self.aggregator, self.writer, self.files, scanned)

    @cached_property
    def stored_identity(self) -> StoredIdentity:
        from marketpipe.storage.infrastructure.file_inventory import StoredIdentity

        return StoredIdentity(self.layout)

    @cached_property
    def stored_bars(self) -> ParquetStoredBars:
        from marketpipe.storage.infrastructure.bar_loader import ParquetStoredBars

        return ParquetStoredBars(self.layout)

    @cached_property
    def loader(self) -> BarLoader:
        from marketpipe.storage.infrastructure.bar_loader import BarLoader

        return BarLoader(self.layout, lambda: self.aggregator)

    @cached_property
    def query(self) -> DuckDBQuery:
        from marketpipe.storage.infrastructure.duckdb_query import DuckDBQuery

        return DuckDBQuery(self.layout)

    @cached_property
    def aggregator(self) -> DuckDBAggregator:
        from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator

        return DuckDBAggregator(self.calendar)

    @cached_property
    def writer(self) -> ParquetWriter:
        from marketpipe.storage.infrastructure.parquet_files import ParquetWriter

        return ParquetWriter(self.config.compression)

    @cached_property
    def files(self) -> DurableFiles:
        from marketpipe.storage.infrastructure.durable_files import DurableFiles

        return DurableFiles(self.syncers)

    @cached_property
    def syncers(self) -> Executor:
        return ThreadPoolExecutor(SYNCERS, "marketpipe-sync")


def _aggregators() -> Executor:
    """One more than there are processors: now and then one waits for the disk. Each holds a symbol's year in memory."""
    return ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_AGGREGATORS) + 1, "marketpipe-aggregate")
