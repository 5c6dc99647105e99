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
    from marketpipe.storage.infrastructure.aggregate_files import AggregateFiles, SeenMonths
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

        return FileInventory(self.layout, self.seen_months)

    @cached_property
    def seen_months(self) -> SeenMonths:
        from marketpipe.storage.infrastructure.aggregate_files import SeenMonths

        return SeenMonths()

    @property
    def refresher(self) -> AggregateRefresher:
        from marketpipe.storage.application.aggregate_refresher import AggregateRefresher

        return AggregateRefresher(self.aggregate_files, self.bus, self.new_executor or _aggregators)

    @property
    def refresher_after_a_look(self) -> AggregateRefresher:
        """For when the inventory has seen all files a moment ago."""
        from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
        from marketpipe.storage.infrastructure.aggregate_files import UnchangedAggregates

        unchanged = UnchangedAggregates(self.layout, self.seen_months, lambda: self.aggregate_files)
        return AggregateRefresher(unchanged, self.bus, self.new_executor or _aggregators)

    @cached_property
    def aggregate_files(self) -> AggregateFiles:
        from marketpipe.storage.infrastructure.aggregate_files import AggregateFiles

        identity = self.stored_identity.read()
        if identity is None:
            raise ConfigurationError(f"{self.config.output_path} holds no bars to aggregate; ingest some first")
        return AggregateFiles(self.layout, identity, lambda: self.aggregator, self.writer, self.files)

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
