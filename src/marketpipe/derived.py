"""Composes what is computed from stored bars: aggregates, loaded tables, answers to SQL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.config import USUAL_FILE, is_on_disk
from marketpipe.config.classes import FORMER, NO_COPIES, PARQUET_COPIES, beside_data
from marketpipe.parts import Parts, once
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, TradingDate
from marketpipe.shared_kernel.events import AggregatesRefreshed, BarsExhausted, BarsStored, BarsValidated, JobFinished
from marketpipe.shared_kernel.infrastructure.written_files import OwnPlaces
from marketpipe.storage.domain.exported_file import ExportReport, FileFormat

from . import composition, place_parts

if TYPE_CHECKING:
    from marketpipe.shared_kernel.domain.symbol import Symbol
    from marketpipe.shared_kernel.domain.timestamp import Timestamp
    from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
    from marketpipe.storage.domain.store_survey import CopyFiles, TimeframeFreshness
    from marketpipe.storage.infrastructure.aggregates.ahead import AggregatesAhead
    from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
    from marketpipe.storage.infrastructure.aggregates.freshness_survey import FreshnessSurvey
    from marketpipe.storage.infrastructure.aggregates.read_copies import OpenedCopies
    from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader
    from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
    from marketpipe.storage.infrastructure.reading.exporting import Load, TableFile
    from marketpipe.storage.infrastructure.reading.former_versions import FormerVersions
    from marketpipe.storage.infrastructure.reading.quarantine import Quarantine, RuleExamples

MOST_AGGREGATING_THREADS = 8
AHEAD_TOGETHER_BYTES = 8_000_000
"""Aggregates that are put into a bucket as one object: those of each batch alone would double the requests."""
LONGEST_WAIT_AHEAD = 1.0
"""Seconds that a batch waits for another aggregation; then what it has made is left to the refresh after the job."""


def new_refresher(parts: Parts, *, files_just_scanned: bool = False) -> AggregateRefresher:
    """Make what refreshes aggregates. ``files_just_scanned``: a plan has scanned all day files a moment ago."""
    from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
    from marketpipe.storage.infrastructure.aggregates.aggregate_files import AggregateFiles
    from marketpipe.storage.infrastructure.parquet_files import ParquetWriter

    if (identity := composition.stored_identity(parts).read()) is None:
        raise ConfigurationError(f"{parts.config.output_path} holds no bars to aggregate; ingest or import some first")
    scanned, make = composition.scanned_years(parts) if files_just_scanned else None, lambda: aggregator(parts)
    writer = ParquetWriter(parts.config.compression)
    auction = composition.closing_auction(parts)
    aggregates = AggregateFiles(
        place_parts.layout(parts),
        identity,
        make,
        writer,
        place_parts.files(parts),
        scanned,
        auction,
        copy_format(parts),
    )
    # one thread more than there are processors, as one waits for the disk now and then; each holds a symbol's year
    threads = min(parts.machine.processors, MOST_AGGREGATING_THREADS) + 1
    new_executor = parts.executor_factory(threads, "marketpipe-aggregate")
    return AggregateRefresher(aggregates, parts.bus, new_executor, lambda: parts.is_stopped)


def copy_format(parts: Parts) -> str:
    """Return the form of read copies: the configured one, or that of the copies that exist, or Parquet."""
    configured = parts.config.read_copies
    return configured if configured != NO_COPIES else place_parts.layout(parts).copy_format() or PARQUET_COPIES


def makes_copies(parts: Parts) -> bool:
    """Return whether read copies are made without being asked for: only if they are configured."""
    return parts.config.read_copies != NO_COPIES


def has_copies(parts: Parts) -> bool:
    """Return whether read copies are configured, or were ever made."""
    return makes_copies(parts) or place_parts.layout(parts).copy_format() is not None


@once
def subscribe_aggregates_ahead(parts: Parts) -> None:
    """Let the process that stores bars make aggregates of them. See ADR 0045.

    To be called after ``subscribe_ring``: handlers are called in the order in which they were subscribed, and what is
    made has to come after what is stored and recorded.
    """
    copies = [Timeframe.MINUTE_1] if makes_copies(parts) else []
    kept = *parts.config.timeframes, *place_parts.layout(parts).timeframes(), *copies
    timeframes = tuple(dict.fromkeys(Timeframe.DAY_1 if each.is_made_of_days else each for each in kept))
    leaves_it_to_workers = parts.has(composition.worker_pool)
    if leaves_it_to_workers or not timeframes:
        return
    bus, made = parts.bus, partial(aggregates_ahead, parts, timeframes)
    bus.subscribe_lazily(BarsStored, lambda: made().on_bars_stored)
    bus.subscribe_lazily(BarsValidated, lambda: made().on_bars_validated)
    bus.subscribe_lazily(BarsExhausted, lambda: made().on_bars_exhausted)


@once
def aggregates_ahead(parts: Parts, timeframes: tuple[Timeframe, ...]) -> AggregatesAhead:
    from marketpipe.storage.infrastructure.aggregates.aggregate_files import AggregateFiles
    from marketpipe.storage.infrastructure.aggregates.ahead import AggregatesAhead
    from marketpipe.storage.infrastructure.parquet_files import ParquetWriter

    provided, writer = composition.capabilities(parts), ParquetWriter(parts.config.compression)
    store, auction = place_parts.layout(parts), provided.closing_auction
    make, files = lambda: aggregator(parts), place_parts.files(parts)
    kept = AggregateFiles(store, provided.identity, make, writer, files, None, auction, copy_format(parts))

    def new_lock() -> AbstractContextManager[None]:
        return place_parts.aggregation_lock(parts, longest_wait_seconds=LONGEST_WAIT_AHEAD).acquired()

    maker = parts.machine.threads.executor(1, "marketpipe-ahead")
    together = 0 if is_on_disk(parts.config.output_path) else AHEAD_TOGETHER_BYTES
    ahead = parts.closing(
        AggregatesAhead(kept, timeframes, parts.bus, new_lock, maker, together, parts.machine.threads)
    )
    parts.bus.subscribe(JobFinished, ahead.on_job_finished)
    parts.bus.subscribe(AggregatesRefreshed, ahead.on_aggregates_refreshed)
    return ahead


@once
def aggregator(parts: Parts) -> BarAggregator:
    from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator

    return BarAggregator(composition.calendar(parts), composition.closing_auction(parts))


@once
def loader(parts: Parts) -> BarLoader:
    from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader

    return BarLoader(
        place_parts.layout(parts),
        lambda: aggregator(parts),
        lambda first, last: composition.calendar(parts).reaching(first, last),
        opened_copies(parts),
        composition.stored_identity(parts),
        lambda: place_parts.known_state(parts).file_digests,
    )


@once
def opened_copies(parts: Parts) -> OpenedCopies:
    from marketpipe.storage.infrastructure.aggregates.read_copies import OpenedCopies

    return parts.closing(OpenedCopies())


def table_file(parts: Parts, path: str | Path, given: str | FileFormat | None, *, overwrite: bool) -> TableFile:
    """Make the file that an export is written to. Raises ``ConfigurationError`` for a path that it must not have."""
    from marketpipe.storage.infrastructure.reading.exporting import TableFile

    return TableFile(Path(path), FileFormat.of(str(path), given), own_places(parts), overwrite=overwrite)


def own_places(parts: Parts) -> OwnPlaces:
    """Return what no file of a user may replace. A folder that only the configuration chose for the state has others'
    files too; the usual one has none.
    """
    at, state = place_parts.layout(parts), parts.config.state_path
    usual = (beside_data("state", parts.config), FORMER.state_path.parent)
    folders = (state.parent,) if os.path.realpath(state.parent) in map(os.path.realpath, usual) else ()
    usual_settings = (parts.config.root / name for name in (USUAL_FILE, ".env"))
    settings = (*filter(None, [parts.config.read_from]), *usual_settings)
    return OwnPlaces((at.data, *at.derived().values(), *folders), (state,), settings)


def export_bars(
    parts: Parts,
    file: TableFile,
    symbols: Sequence[Symbol],
    dates: tuple[TradingDate, TradingDate],
    timeframe: Timeframe,
    load: Load,
    as_of: Timestamp | None,
) -> ExportReport:
    """Write what ``load`` returns for these symbols and dates, and in the metadata what they are."""
    from marketpipe.storage.infrastructure.reading.exporting import loaded_in_parts, write_bars

    identity, moment = composition.known_identity(parts), "" if as_of is None else str(as_of)
    stated = {"marketpipe.dataset": str(identity or ""), "marketpipe.timeframe": str(timeframe)}
    bars = loaded_in_parts(place_parts.layout(parts), symbols, dates, timeframe, load)
    return write_bars(file, bars, {**stated, "marketpipe.as_of": moment})


def export_answer(parts: Parts, file: TableFile, sql: str) -> ExportReport:
    """Write the answer to a query."""
    import pyarrow as pa

    def write(reader: pa.RecordBatchReader) -> ExportReport:
        return file.write(reader.schema, (pa.Table.from_batches([batch], reader.schema) for batch in reader))

    return query(parts).stream(sql, write)


@once
def query(parts: Parts) -> DuckDBQuery:
    from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery

    source = place_parts.laid_out_files(parts)
    made = DuckDBQuery(
        place_parts.layout(parts),
        lambda first, last: composition.calendar(parts).reaching(first, last),
        lambda: composition.closing_auction(parts),
        opened=opened_copies(parts),
        scans=composition.day_file_scans(parts) if source is None else None,
        identity=composition.stored_identity(parts),
        source=source,
    )
    return parts.closing(made)


def last_day_of(first: TradingDate, last: TradingDate, timeframe: Timeframe) -> TradingDate:
    """Return the last date of the days that the bars between these dates, both inclusive, are made of."""
    from marketpipe.storage.infrastructure.official.daily_bars import days_of_periods

    return days_of_periods(first, last, timeframe)[1] if timeframe.is_made_of_days else last


# --- what a report page shows besides coverage
def version_of(parts: Parts) -> object:
    """Return what changes whenever an ingestion records something, or a job ends."""
    state = place_parts.known_state(parts)
    return state, state.leases.position(), [(job.job_id, job.state) for job in state.jobs.latest(1)]


def quarantine(parts: Parts) -> Quarantine:
    from marketpipe.storage.infrastructure.reading.quarantine import Quarantine

    return Quarantine(place_parts.layout(parts))


def new_rule_examples() -> RuleExamples:
    from marketpipe.storage.infrastructure.reading.quarantine import RuleExamples

    return RuleExamples()


def former_versions(parts: Parts) -> FormerVersions:
    from marketpipe.storage.infrastructure.reading.former_versions import FormerVersions

    return FormerVersions(place_parts.layout(parts))


def freshness_survey(parts: Parts) -> FreshnessSurvey:
    from marketpipe.storage.infrastructure.aggregates.freshness_survey import FreshnessSurvey

    return FreshnessSurvey(place_parts.layout(parts), lambda: composition.closing_auction(parts))


def surveyed_timeframes(parts: Parts) -> tuple[Timeframe, ...]:
    """Return the configured timeframes, and all others that were ever aggregated, the shortest first; one minute stands
    for read copies.
    """
    found = {*parts.config.timeframes, *place_parts.layout(parts).timeframes()}
    made = [timeframe for timeframe in Timeframe if timeframe in found and timeframe.is_aggregated]
    return *([Timeframe.MINUTE_1] if has_copies(parts) else []), *made


def copies_freshness(parts: Parts) -> TimeframeFreshness | None:
    """Return how many read copies are fresh, stale and absent; None if the store has none and is to have none."""
    if not has_copies(parts):
        return None
    symbols = place_parts.layout(parts).symbols()
    (found,) = freshness_survey(parts).survey(symbols, DISTANT_PAST, DISTANT_FUTURE, [Timeframe.MINUTE_1])
    return found


def copy_files(parts: Parts) -> CopyFiles | None:
    """Return which read copies lie there; None if the store has none and is to have none."""
    if not has_copies(parts):
        return None
    from marketpipe.storage.infrastructure.aggregates.freshness_survey import copy_files

    at = place_parts.layout(parts)
    return copy_files(at.copies, parts.config.read_copies, copy_format(parts), at.disk)
