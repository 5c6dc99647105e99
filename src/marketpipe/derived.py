"""Composes what is computed from stored bars: aggregates, loaded tables, answers to SQL."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from marketpipe.parts import Parts, once
from marketpipe.shared_kernel.domain.errors import ConfigurationError

from . import composition

if TYPE_CHECKING:
    from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
    from marketpipe.storage.infrastructure.bar_loader import BarLoader
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator
    from marketpipe.storage.infrastructure.duckdb_query import DuckDBQuery

MOST_AGGREGATING_THREADS = 8


def new_refresher(parts: Parts, *, files_just_scanned: bool = False) -> AggregateRefresher:
    """Make what refreshes aggregates. ``files_just_scanned``: a plan has scanned all day files a moment ago."""
    from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
    from marketpipe.storage.infrastructure.aggregate_files import AggregateFiles
    from marketpipe.storage.infrastructure.parquet_files import ParquetWriter

    if (identity := composition.stored_identity(parts).read()) is None:
        raise ConfigurationError(f"{parts.config.output_path} holds no bars to aggregate; ingest some first")
    scanned, make = composition.scanned_years(parts) if files_just_scanned else None, lambda: aggregator(parts)
    writer = ParquetWriter(parts.config.compression)
    auction = composition.closing_auction(parts)
    aggregates = AggregateFiles(
        composition.layout(parts), identity, make, writer, composition.files(parts), scanned, auction
    )
    # one thread more than there are processors, as one waits for the disk now and then; each holds a symbol's year
    threads = min(os.cpu_count() or 1, MOST_AGGREGATING_THREADS) + 1
    new_executor = parts.new_executor or partial(ThreadPoolExecutor, threads, "marketpipe-aggregate")
    return AggregateRefresher(aggregates, parts.bus, new_executor)


@once
def aggregator(parts: Parts) -> DuckDBAggregator:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator

    return DuckDBAggregator(composition.calendar(parts), composition.closing_auction(parts))


@once
def loader(parts: Parts) -> BarLoader:
    from marketpipe.storage.infrastructure.bar_loader import BarLoader

    return BarLoader(composition.layout(parts), lambda: aggregator(parts))


@once
def query(parts: Parts) -> DuckDBQuery:
    from marketpipe.storage.infrastructure.duckdb_query import DuckDBQuery

    return DuckDBQuery(composition.layout(parts))
