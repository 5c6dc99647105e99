from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.integrity_parts import IntegrityParts
from marketpipe.bootstrap.validation_parts import ValidationParts
from marketpipe.config import PipelineConfig
from marketpipe.provider_registry import check_provider
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.audit_events import BarsCompared
from marketpipe.shared_kernel.events.bar_events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsStored,
    BarsValidated,
)
from marketpipe.shared_kernel.events.store_events import StoredBarsRead
from marketpipe.validation.domain.business_rules import RuleBook

if TYPE_CHECKING:
    from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator
    from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
    from marketpipe.ingestion.application.interrupted_work import InterruptedWork
    from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
    from marketpipe.storage.application.stored_bars_reviewer import StoredBarsReviewer


@define(slots=False)
class Bootstrap(IntegrityParts, ValidationParts):
    """The adapters and services of one pipeline, wired; two pipelines share none of them.

    ``config`` may be a ``StoreConfig`` where nothing is to be ingested. ``market_data_provider`` takes the place of
    the one that the configuration names. Raises ``ConfigurationError`` for a provider or a rule that does not exist.
    """

    def __attrs_post_init__(self) -> None:
        if isinstance(self.config, PipelineConfig) and self.market_data_provider is None:
            check_provider(self.config.provider)
        RuleBook.with_severities(self.config.validation.severities)

    @cached_property
    def coordinator(self) -> IngestionCoordinator:
        """With the whole ring subscribed: from BarsRequested to the checkpoint and back."""
        from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
        from marketpipe.ingestion.application.recorded_files import RecordedFiles
        from marketpipe.storage.application.bar_storer import BarStorer
        from marketpipe.storage.infrastructure.partition_manager import PartitionManager

        identity, bus = self.provider.traits.identity, self.bus
        coordinator = IngestionCoordinator(
            identity,
            self.planner(self.state),
            self.state,
            self.state.claims,
            self.inventory,
            bus,
            self.clock,
            self.runner(),
            self._interrupted_work(identity),
        )
        register = RecordedFiles(self.state)
        partitions = PartitionManager(self.layout, identity, self.writer, self.files, self.clock, register)
        self._subscribe_fetching(bus)
        bus.subscribe(BarsValidated, coordinator.on_bars_validated)
        bus.subscribe(BarsValidated, BarStorer(partitions, bus).on_bars_validated)
        bus.subscribe(BarsStored, coordinator.on_bars_stored)
        bus.subscribe(BarsExhausted, coordinator.on_bars_exhausted)
        return coordinator

    @cached_property
    def auditor(self) -> AuditCoordinator:
        """With a ring of its own, in which bars are compared where they would be stored."""
        from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator
        from marketpipe.storage.application.bar_auditor import BarAuditor
        from marketpipe.storage.infrastructure.bar_comparer import ParquetBarComparer

        bus = self.bus.branch()
        auditor = AuditCoordinator(self.planner(self.state), self.state, bus, self.clock, self.runner())
        self._subscribe_fetching(bus)
        bus.subscribe(BarsValidated, BarAuditor(ParquetBarComparer(self.layout), bus).on_bars_validated)
        bus.subscribe(BarsCompared, auditor.on_bars_compared)
        bus.subscribe(BarsExhausted, auditor.on_bars_exhausted)
        return auditor

    @cached_property
    def reviewer(self) -> StoredBarsReviewer:
        from marketpipe.storage.application.stored_bars_reviewer import StoredBarsReviewer

        # of any hours: a store may hold the extended session though now only the regular one is wanted
        validator = self.validator(SessionKind.EXTENDED, self.bus)
        self.bus.subscribe(StoredBarsRead, validator.on_stored_bars_read)
        return StoredBarsReviewer(self.stored_bars, self.bus)

    def stop(self) -> None:
        """Where nothing was ever asked for there is nothing to stop."""
        for name in ("coordinator", "auditor"):
            if name in vars(self):
                vars(self)[name].stop()

    def close(self) -> None:
        """Closes what was opened; what was never needed was never made."""
        for name in ("provider", "state", "_no_state"):
            if name in vars(self):
                vars(self)[name].close()
        if "syncers" in vars(self):
            self.syncers.shutdown()

    def _interrupted_work(self, identity: DatasetIdentity) -> InterruptedWork:
        from marketpipe.ingestion.application.interrupted_work import InterruptedWork
        from marketpipe.storage.infrastructure.left_behind import ParquetFilesLeftBehind

        files = ParquetFilesLeftBehind(self.layout, self.stored_files, self.files, identity)
        return InterruptedWork(self.state, self.state.claims, files, self.calendar, self._finality, self.clock)

    def _subscribe_fetching(self, bus: EventBus) -> None:
        from marketpipe.integration.application.bars_fetcher import BarsFetcher
        from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler

        fetcher = BarsFetcher(self.provider, WholeDayAssembler, bus)
        bus.subscribe(BarsRequested, fetcher.on_bars_requested)
        bus.subscribe(BarsFetched, self.validator(self.config.session, bus).on_bars_fetched)
