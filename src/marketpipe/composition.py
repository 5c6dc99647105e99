"""The composition root: the one module that knows every adapter and connects the contexts to a pipeline.

A function under ``@once`` makes one thing for the life of a pipeline; one whose name begins with ``new_`` makes another
at every call. Each imports the adapter that it makes, so that a command loads only what it uses.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from marketpipe.config import THREADS, PipelineConfig, is_on_disk
from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
from marketpipe.integration.domain.data_feed import USUAL_DELAY, ProviderCapabilities
from marketpipe.integration.domain.table_import import is_imported
from marketpipe.parts import Parts, WorkerProcesses, once
from marketpipe.place_parts import (
    calendar_cache,
    file_catalog,
    files,
    has_opened_state,
    known_state,
    layout,
    new_stored_state,
    now_ns,
    object_disk,
    object_store,
    probe_before_requests,
    state,
    store_lock,
    together,
)
from marketpipe.provider_registry import capabilities_without_keys, closing_auction_of, new_provider
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.shared_kernel.event_bus import EventBus, Handler
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsStored,
    BarsValidated,
)
from marketpipe.validation.domain.business_rules import RuleBook

from . import store_locks

if TYPE_CHECKING:
    from marketpipe.ingestion.application.batch_runner import BatchRunner
    from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
    from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
    from marketpipe.ingestion.application.leases import LeaseGuard
    from marketpipe.ingestion.application.official_days import OfficialDaysCoordinator
    from marketpipe.ingestion.application.ports import IngestionState
    from marketpipe.ingestion.application.recovery import OrphanAdopter, StateRecoverer
    from marketpipe.ingestion.infrastructure.sql.state import SqlState
    from marketpipe.integration.application.bars_fetcher import BarsFetcher
    from marketpipe.integration.application.ports import MarketDataProvider
    from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, OfficialDays, StoreInventory
    from marketpipe.shared_kernel.domain.trading_date import TradingCalendar
    from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
    from marketpipe.storage.application.bar_handlers import BarStorer
    from marketpipe.storage.application.ports import BarStore
    from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import ScannedYears
    from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans
    from marketpipe.storage.infrastructure.inventory.rotted_files import Registers
    from marketpipe.storage.infrastructure.inventory.stored_files import ParquetStoredFiles
    from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
    from marketpipe.storage.infrastructure.objects.month_objects import MonthObjects
    from marketpipe.storage.infrastructure.publishing.month_folders import MonthFolders
    from marketpipe.storage.infrastructure.reading.bar_loader import ParquetStoredBars
    from marketpipe.validation.application.bar_validator import BarValidator

READING_THREADS = 4
CALENDAR_DAYS_AHEAD = 365
"""How far the trading calendar reaches beyond today: the exchange has not decided later holidays."""


# --- the ring: who handles which event
def subscribe_ring(
    parts: Parts,
    on_bars_stored: Handler[BarsStored],
    on_bars_exhausted: Handler[BarsExhausted],
    pool: WorkerProcesses | None = None,
) -> None:
    """Subscribe the journey of every bar: five events, five handlers, in order.

    The first three are made with their first event: a run that has nothing to ask for needs none of them. With a
    ``pool``, worker processes take these three steps, each with a ring of its own.
    """
    bus = parts.bus
    if pool is None:
        bus.subscribe_lazily(BarsRequested, lambda: fetcher(parts, bus).on_bars_requested)
        bus.subscribe_lazily(BarsFetched, lambda: validator(parts, bus, parts.config.session).on_bars_fetched)
        bus.subscribe_lazily(BarsValidated, lambda: storer(parts, lease_guard(parts)).on_bars_validated)
    else:
        bus.subscribe(BarsRequested, pool.on_bars_requested)
    bus.subscribe(BarsStored, on_bars_stored)
    bus.subscribe(BarsExhausted, on_bars_exhausted)


# --- ingestion: what is wanted, missing and done
@once
def coordinator(
    parts: Parts, official_for: Callable[[Parts], OfficialDaysCoordinator | None] = lambda _: None
) -> IngestionCoordinator:
    """Make the coordinator and subscribe the ring. If the provider cannot be made, nothing on the disk is touched.

    ``official_for`` makes what requests official days. It is called if the provider has them, when the state is open.
    """
    from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator

    pool = worker_pool(parts) if parts.pipeline_config.executor != THREADS else None
    parts.check_keys()  # before the state is made
    provided = capabilities(parts)
    recorded = state(parts)
    probe_before_requests(parts)
    official = official_for(parts) if provided.official_days else None
    made = IngestionCoordinator(
        provided.identity,
        planner(parts, recorded),
        recorded,
        inventory(parts),
        parts.bus,
        parts.clock,
        new_runner(parts, pool),
        new_orphan_adopter(parts),
        lease_guard(parts),
        *(lambda days: bar_store(parts).withdraw(days), parts.config.coverage.confirmations),
        official,
        provided.closing_auction,
    )
    calendar_cache(parts).save()  # the folder of the state exists now, and worker processes look for the cache there
    subscribe_ring(parts, made.on_bars_stored, made.on_bars_exhausted, pool)
    parts.stopping(made)
    return made


@once
def worker_pool(parts: Parts) -> WorkerProcesses:
    if parts.market_data_provider is not None or parts.new_worker_pool is None:
        kind = parts.pipeline_config.executor
        raise ConfigurationError(f"executor: {kind} makes providers from the configuration; use threads")
    pool = parts.new_worker_pool(parts)
    state(parts)  # before the pool is registered: workers end first, then the leases are released that they work under
    return parts.closing(pool)


@once
def planner(parts: Parts, recorded: IngestionState) -> IngestionPlanner:
    from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
    from marketpipe.ingestion.application.job_scheduler import JobScheduler
    from marketpipe.ingestion.domain.batch_packing import PackingLimits

    provided, workers = capabilities(parts), parts.pipeline_config.workers
    limits = PackingLimits(provided.bars_per_page, provided.symbols_per_request, workers)
    scheduler = JobScheduler(calendar(parts), finality(parts), limits)
    return IngestionPlanner(scheduler, recorded.checkpoints, recorded.statistics, inventory(parts), parts.clock)


def known_identity(parts: Parts) -> DatasetIdentity | None:
    """Return the dataset that the minute bars name, or else the one on record; None before anything was stored."""
    recorded = known_state(parts).dataset()
    return stored_identity(parts).read() or (recorded[0] if recorded else None)


def holds_imported_bars(recorded: SqlState) -> bool:
    """Return whether the bars come from files of the user, so that none can be requested."""
    dataset = recorded.dataset()
    return dataset is not None and is_imported(dataset[0].provider)


def finality(parts: Parts) -> SessionFinality:
    if not isinstance(parts.config, PipelineConfig):
        return SessionFinality(USUAL_DELAY)
    try:
        provided = capabilities(parts)
    except ConfigurationError:  # the secret of a plugin is not set: what is stored is read without it
        return SessionFinality(USUAL_DELAY)
    return SessionFinality(provided.feed.delay, provided.closing_auction)


def latest_final(parts: Parts) -> TradingDate:
    """Return the trading date of the newest session whose bars are settled."""
    return finality(parts).latest_final(calendar(parts), parts.clock.now())


@once
def closing_auction(parts: Parts) -> int | None:
    """Return where the closing auction of the stored bars is, in minutes after the close; None if that is not known."""
    if parts.market_data_provider is not None:
        return parts.market_data_provider.capabilities.closing_auction
    known = closing_auction_of(stored_identity(parts).read())
    return known_state(parts).closing_auction() if known is None else known


@once
def lease_guard(parts: Parts) -> LeaseGuard:
    from marketpipe.ingestion.application.leases import LeaseGuard

    return LeaseGuard(state(parts).leases, parts.clock)


def new_runner(parts: Parts, workers: WorkerProcesses | None = None) -> BatchRunner:
    from marketpipe.ingestion.application.batch_runner import BatchRunner

    threads = parts.machine.threads
    new_executor = parts.executor_factory(parts.pipeline_config.workers, "marketpipe")
    return BatchRunner(parts.clock, new_executor, workers, threads.as_completed)


def new_orphan_adopter(parts: Parts) -> OrphanAdopter:
    from marketpipe.ingestion.application.recovery import OrphanAdopter
    from marketpipe.storage.infrastructure.inventory.stored_files import ParquetOrphanFiles

    left = ParquetOrphanFiles(layout(parts), new_stored_files(parts), files(parts), capabilities(parts).identity)
    return OrphanAdopter(state(parts), left, calendar(parts), finality(parts), parts.clock)


def new_recoverer(parts: Parts) -> StateRecoverer:
    """Make what archives the state and builds a new one. Of a bucket no file is read."""
    if has_opened_state(parts):
        raise ConfigurationError("this pipeline has its state open already: recover with a new one")
    return new_recoverer_knowing(parts) if is_on_disk(parts.config.output_path) else _recoverer(parts, finality(parts))


def new_recoverer_knowing(parts: Parts) -> StateRecoverer:
    """Make it with what the stored files tell of their provider."""
    known = finality(parts)
    if known.closing_auction is None:  # asked of the provider's name: the state, which would know it, is lost
        known = evolve(known, closing_auction=closing_auction_of(stored_identity(parts).read()))
    return _recoverer(parts, known)


def _recoverer(parts: Parts, known: SessionFinality) -> StateRecoverer:
    from marketpipe.ingestion.application.recovery import StateRecoverer

    return StateRecoverer(
        new_stored_state(parts.config, parts.machine), lambda: state(parts), calendar(parts), known, parts.clock
    )


# --- integration: the market data provider
@once
def fetcher(parts: Parts, bus: EventBus) -> BarsFetcher:
    from marketpipe.integration.application.bars_fetcher import BarsFetcher
    from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler

    new_executor = partial(parts.machine.threads.executor, 1, "marketpipe-ahead-page")
    return BarsFetcher(provider(parts), WholeDayAssembler, bus, new_executor)


@once
def provider(parts: Parts) -> MarketDataProvider:
    if (made := parts.market_data_provider) is None:
        made = new_provider(parts.pipeline_config, parts.credentials, parts.clock, parts.bus.publish, parts.machine)
    return parts.closing(made)


def capabilities(parts: Parts) -> ProviderCapabilities:
    """Return how the provider can be asked; a plan needs no more, and no keys."""
    known = None if parts.market_data_provider else capabilities_without_keys(parts.pipeline_config)
    return known or provider(parts).capabilities


# --- validation: what a good bar is
@once
def validator(parts: Parts, bus: EventBus, kind: SessionKind) -> BarValidator:
    from marketpipe.validation.application.bar_validator import BarValidator
    from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
    from marketpipe.validation.infrastructure.column_masks import bar_columns
    from marketpipe.validation.infrastructure.columnar_validator import ColumnarValidator
    from marketpipe.validation.infrastructure.schema_validator import bar_schema_validator

    rules = BusinessRuleValidator(RuleBook.with_severities(parts.config.validation.severities))
    minute = capabilities(parts).closing_auction if kind is SessionKind.REGULAR else None
    columns_of = partial(bar_columns, closing_auction=minute)
    columnar = ColumnarValidator(bar_schema_validator(), rules, calendar(parts), kind, columns_of)
    return BarValidator(columnar.validate, bus, parts.clock)


# --- storage: files and what reads them
@once
def storer(parts: Parts, guard: LeaseGuard) -> BarStorer:
    """Make the handler that publishes day files, each only while ``guard`` finds its lease still valid."""
    from marketpipe.storage.application.bar_handlers import BarStorer

    return BarStorer(bar_store(parts), guard.pin, parts.bus, together(parts))


@once
def bar_store(parts: Parts) -> BarStore:
    return new_bar_store(parts, capabilities(parts).identity)


def new_bar_store(parts: Parts, identity: DatasetIdentity) -> BarStore:
    from marketpipe.ingestion.application.recovery import RecordedVersions
    from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
    from marketpipe.storage.infrastructure.partition_manager import PartitionManager

    writer, register = ParquetWriter(parts.config.compression), RecordedVersions(state(parts).checkpoints)
    at = layout(parts), identity, writer, files(parts), parts.clock, register, figure_calculator(parts)
    return PartitionManager(*at, partial(month_folders, parts), stored_identity(parts))


@once
def month_folders(parts: Parts) -> MonthFolders:
    from marketpipe.storage.infrastructure.publishing.folder_exchange import FolderExchange
    from marketpipe.storage.infrastructure.publishing.month_folders import MonthFolders

    at = layout(parts)
    exchange = FolderExchange(files(parts), at.data, at.revisions, parts.syncing, machine=at.machine)
    in_a_folder = store_lock(parts, store_locks.MONTHS, waits=True).acquired
    is_seen_at_once = is_on_disk(parts.config.output_path)
    lock = in_a_folder if is_seen_at_once else lambda: state(parts).alone_until_committed()
    return MonthFolders(at, files(parts), exchange, lock)


@once
def months_together(parts: Parts) -> MonthObjects | None:
    """Make what compacts the months of many symbols together; None for a store on a disk, where each is one file."""
    if is_on_disk(parts.config.output_path):
        return None
    from marketpipe.storage.infrastructure.objects.month_objects import MonthObjects

    at = file_catalog(parts), object_store(parts), object_disk(parts), month_folders(parts)
    return MonthObjects(*at, parts.machine.new_name, partial(now_ns, parts), together(parts) or nullcontext)


@once
def figure_calculator(parts: Parts) -> FigureCalculator:
    from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator

    return FigureCalculator(calendar(parts))


@once
def stored_official_days(parts: Parts, recorded: SqlState) -> OfficialDays:
    from marketpipe.storage.infrastructure.official.official_reader import OfficialReader

    return OfficialReader(layout(parts), recorded.official_years)


@once
def inventory(parts: Parts) -> StoreInventory:
    from marketpipe.storage.infrastructure.inventory.file_inventory import FileInventory

    return FileInventory(layout(parts), scanned_years(parts), lambda: closing_auction(parts))


@once
def scanned_years(_: Parts) -> ScannedYears:
    from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import ScannedYears

    return ScannedYears()


@once
def day_file_scans(parts: Parts) -> DayFileScans:
    from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans

    return DayFileScans(disk=layout(parts).disk)


@once
def stored_bars(parts: Parts) -> ParquetStoredBars:
    from marketpipe.storage.infrastructure.reading.bar_loader import ParquetStoredBars

    return ParquetStoredBars(layout(parts), stored_identity(parts))


@once
def stored_identity(parts: Parts) -> StoredIdentity:
    from marketpipe.ingestion.application.recovery import RecordedVersions
    from marketpipe.storage.infrastructure.inventory.rotted_files import RottedFiles
    from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity

    def registers() -> Registers:
        recorded = known_state(parts)
        return RecordedVersions(recorded.checkpoints), recorded.official_years, recorded.file_digests

    def recorded() -> DatasetIdentity | None:
        dataset = None if is_on_disk(parts.config.output_path) else known_state(parts).dataset()
        return dataset[0] if dataset else None

    return StoredIdentity(layout(parts), RottedFiles(layout(parts), registers), recorded)


def new_stored_files(parts: Parts) -> ParquetStoredFiles:
    from marketpipe.storage.infrastructure.inventory.stored_files import ParquetStoredFiles

    new_executor = parts.executor_factory(READING_THREADS, "marketpipe-read")
    return ParquetStoredFiles(layout(parts), new_executor, figure_calculator(parts))


@once
def calendar(parts: Parts) -> TradingCalendar:
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

    latest = TradingDate.of(parts.clock.now()).plus_days(CALENDAR_DAYS_AHEAD)
    return ExchangeCalendar(latest, calendar_cache(parts))
