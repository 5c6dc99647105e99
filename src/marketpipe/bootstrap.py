"""The composition root: the one place that knows every adapter. It makes each when it is first needed.

Adapters are imported where they are made, so that reading a store does not load what only ingestion uses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from marketpipe.config import ClientConfig, Credentials, PipelineConfig, StoreConfig, find_credentials
from marketpipe.provider_registry import check_provider, registered_factory
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.bar_events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsStored,
    BarsValidated,
)
from marketpipe.shared_kernel.events.provider_events import RateLimitWaited
from marketpipe.shared_kernel.events.store_events import StoredBarsRead
from marketpipe.shared_kernel.infrastructure.logged_isolation import LoggedIsolation
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.validation.domain.business_rules import RuleBook

if TYPE_CHECKING:
    from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
    from marketpipe.integration.application.ports import MarketDataProvider
    from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
    from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
    from marketpipe.storage.application.stored_bars_reviewer import StoredBarsReviewer
    from marketpipe.storage.infrastructure.bar_loader import BarLoader
    from marketpipe.storage.infrastructure.duckdb_query import DuckDBQuery
    from marketpipe.storage.infrastructure.durable_files import DurableFiles
    from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter
    from marketpipe.storage.infrastructure.store_layout import StoreLayout
    from marketpipe.storage.infrastructure.stored_bars import ParquetStoredBars
    from marketpipe.storage.infrastructure.stored_identity import StoredIdentity
    from marketpipe.validation.application.bar_validator import BarValidator

SCHEMA_FILE = "schema_v1.json"
CALENDAR_DAYS_AHEAD = 365  # further ahead the exchange has not decided its holidays


def _or_the_machines(clock: Clock | None) -> Clock:
    return SystemClock() if clock is None else clock


@define(slots=False)
class Bootstrap:
    """The adapters and services of one pipeline; two pipelines share none of them.

    ``config`` may be a ``StoreConfig`` where nothing is to be ingested. ``market_data_provider`` takes the place of
    the one that the configuration names. Raises ``ConfigurationError`` for a provider or a rule that does not exist.
    """

    config: StoreConfig
    credentials: Credentials | None = field(default=None, repr=False)
    clock: Clock = field(default=None, converter=_or_the_machines)
    new_executor: Callable[[], Executor] | None = None
    market_data_provider: MarketDataProvider | None = None

    def __attrs_post_init__(self) -> None:
        if isinstance(self.config, PipelineConfig) and self.market_data_provider is None:
            check_provider(self.config.provider)
        RuleBook.with_severities(self.config.validation.severities)

    @property
    def ingestion_config(self) -> PipelineConfig:
        if not isinstance(self.config, PipelineConfig):
            raise ConfigurationError("ingestion needs a provider, symbols, start and end: give a configuration")
        return self.config

    @cached_property
    def bus(self) -> EventBus:
        return EventBus(LoggedIsolation)

    @cached_property
    def calendar(self) -> TradingCalendar:
        from marketpipe.shared_kernel.domain.trading_date import TradingDate
        from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

        return ExchangeCalendar(latest=TradingDate.of(self.clock.now()).plus_days(CALENDAR_DAYS_AHEAD))

    @cached_property
    def provider(self) -> MarketDataProvider:
        return self.market_data_provider or self._make_provider(self.ingestion_config)

    @cached_property
    def coordinator(self) -> IngestionCoordinator:
        """With the whole ring subscribed: from BarsRequested to the checkpoint and back."""
        from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
        from marketpipe.ingestion.application.job_scheduler import JobScheduler
        from marketpipe.ingestion.domain.batch_packing import PackingLimits
        from marketpipe.ingestion.domain.session_finality import SessionFinality
        from marketpipe.storage.infrastructure.file_inventory import FileInventory

        traits, workers = self.provider.traits, self.ingestion_config.workers
        limits = PackingLimits(traits.bars_per_page, traits.symbols_per_request, workers)
        scheduler = JobScheduler(self.calendar, SessionFinality(traits.feed.delay), limits)
        executor = self.new_executor or (lambda: ThreadPoolExecutor(workers, "marketpipe"))
        inventory = FileInventory(self.layout)
        coordinator = IngestionCoordinator(
            traits.identity, scheduler, self.state, inventory, self.bus, self.clock, executor
        )
        self._wire(coordinator)
        return coordinator

    @cached_property
    def state(self) -> SQLiteState:
        from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState

        path = self.config.state_path
        location = os.path.relpath(self.config.output_path.resolve(), path.parent.resolve())
        return SQLiteState(path, location)

    @cached_property
    def reviewer(self) -> StoredBarsReviewer:
        from marketpipe.storage.application.stored_bars_reviewer import StoredBarsReviewer

        # of any hours: a store may hold the extended session though now only the regular one is wanted
        validator = self._validator(SessionKind.EXTENDED)
        self.bus.subscribe(StoredBarsRead, validator.on_stored_bars_read)
        return StoredBarsReviewer(self.stored_bars, self.bus)

    @cached_property
    def refresher(self) -> AggregateRefresher:
        from marketpipe.storage.application.aggregate_refresher import AggregateRefresher
        from marketpipe.storage.infrastructure.aggregate_files import AggregateFiles
        from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator

        identity = self.stored_identity.read()
        if identity is None:
            raise ConfigurationError(f"{self.config.output_path} holds no bars to aggregate; ingest some first")
        aggregator = DuckDBAggregator(self.layout, self.calendar)
        return AggregateRefresher(
            AggregateFiles(self.layout, identity, aggregator, self._writer, self._files), self.bus
        )

    @cached_property
    def layout(self) -> StoreLayout:
        from marketpipe.storage.infrastructure.store_layout import StoreLayout

        return StoreLayout(self.config.output_path, self.config.aggregates_path, self.config.quarantine_path)

    @cached_property
    def stored_identity(self) -> StoredIdentity:
        from marketpipe.storage.infrastructure.stored_identity import StoredIdentity

        return StoredIdentity(self.layout)

    @cached_property
    def stored_bars(self) -> ParquetStoredBars:
        from marketpipe.storage.infrastructure.stored_bars import ParquetStoredBars

        return ParquetStoredBars(self.layout)

    @cached_property
    def loader(self) -> BarLoader:
        from marketpipe.storage.infrastructure.bar_loader import BarLoader

        return BarLoader(self.layout)

    @cached_property
    def query(self) -> DuckDBQuery:
        from marketpipe.storage.infrastructure.duckdb_query import DuckDBQuery

        return DuckDBQuery(self.layout)

    def stop(self) -> None:
        """Where nothing was ever ingested there is nothing to stop."""
        if coordinator := vars(self).get("coordinator"):
            coordinator.stop()

    def close(self) -> None:
        """Closes what was opened; what was never needed was never made."""
        for name in ("provider", "state"):
            if name in vars(self):
                vars(self)[name].close()

    def _wire(self, coordinator: IngestionCoordinator) -> None:
        from marketpipe.integration.application.bars_fetcher import BarsFetcher
        from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
        from marketpipe.storage.application.bar_storer import BarStorer
        from marketpipe.storage.infrastructure.partition_manager import PartitionManager

        partitions = PartitionManager(self.layout, self.provider.traits.identity, self._writer, self._files)
        fetcher = BarsFetcher(self.provider, WholeDayAssembler, self.bus)
        self.bus.subscribe(BarsRequested, fetcher.on_bars_requested)
        self.bus.subscribe(BarsFetched, self._validator(self.config.session).on_bars_fetched)
        self.bus.subscribe(BarsValidated, BarStorer(partitions, self.bus).on_bars_validated)
        self.bus.subscribe(BarsStored, coordinator.on_bars_stored)
        self.bus.subscribe(BarsExhausted, coordinator.on_bars_exhausted)

    def _validator(self, kind: SessionKind) -> BarValidator:
        from marketpipe.validation.application.bar_validator import BarValidator
        from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
        from marketpipe.validation.infrastructure.columnar_judge import ColumnarJudge
        from marketpipe.validation.infrastructure.schema_validator import SchemaValidator

        rules = BusinessRuleValidator(RuleBook.with_severities(self.config.validation.severities))
        schema = SchemaValidator(_bar_schema())
        judge = ColumnarJudge(schema, rules, self.calendar, kind)
        return BarValidator(judge, self.bus, self.clock)

    @cached_property
    def _writer(self) -> ParquetWriter:
        from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter

        return ParquetWriter(self.config.compression)

    @cached_property
    def _files(self) -> DurableFiles:
        from marketpipe.storage.infrastructure.durable_files import DurableFiles

        return DurableFiles()

    def _make_provider(self, config: PipelineConfig) -> MarketDataProvider:
        from marketpipe.integration.application.provider_context import ProviderContext

        if config.provider == "alpaca":
            return self._alpaca(config.alpaca)
        if config.provider == "synthetic":
            from marketpipe.integration.infrastructure.synthetic.synthetic_client import SyntheticClient

            return SyntheticClient(config.synthetic.seed)
        context = ProviderContext(config.provider_options, self.clock, self.bus.publish)
        return registered_factory(config.provider)(context)

    def _alpaca(self, config: ClientConfig) -> MarketDataProvider:
        from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth, alpaca_traits
        from marketpipe.integration.infrastructure.http_exchange import HttpExchange
        from marketpipe.integration.infrastructure.rate_limiter import RateLimiter, RateWindow

        credentials = self.credentials or find_credentials(os.environ)
        http = HttpExchange(config.base_url, alpaca_auth(credentials.key, credentials.secret))
        limiter = RateLimiter(
            [RateWindow(config.rate_limit_per_min)],
            self.clock,
            lambda seconds: self.bus.publish(RateLimitWaited("alpaca", seconds)),
        )
        traits = alpaca_traits(config.feed, config.adjustment)
        return AlpacaClient(traits, http, limiter, self.clock, publish=self.bus.publish)


def _bar_schema() -> dict[str, Any]:
    """From the wheel, or from the source tree, where its one copy lies in schema/."""
    package = Path(__file__).parent
    for path in (package / SCHEMA_FILE, package.parents[1] / "schema" / SCHEMA_FILE):
        if path.is_file():
            schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return schema
    raise ConfigurationError(f"{SCHEMA_FILE} is missing: MarketPipe is not installed properly; install it again")
