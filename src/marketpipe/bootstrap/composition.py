from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.worker_parts import WorkerParts
from marketpipe.config import PROCESSES, PipelineConfig
from marketpipe.provider_registry import check_provider
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.events import BarsCompared, BarsExhausted, BarsStored, BarsValidated, StoredBarsRead
from marketpipe.validation.domain.business_rules import RuleBook

if TYPE_CHECKING:
    from marketpipe.bootstrap.process_ring import ProcessRing
    from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator
    from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
    from marketpipe.ingestion.application.recovery import InterruptedWork
    from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
    from marketpipe.storage.application.bar_handlers import StoredBarsReviewer


@define(slots=False)
class Bootstrap(WorkerParts):
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

        subscribe_far_side, stop_far_side = self._far_side  # first: without credentials nothing is touched
        identity, bus, guard = self.capabilities.identity, self.bus, self.guard
        coordinator = IngestionCoordinator(
            identity,
            self.planner(self.state),
            self.state,
            self.inventory,
            bus,
            self.clock,
            self.runner(stop_far_side),
            self._interrupted_work(identity),
            guard,
        )
        self.calendar_cache.save()  # now the state exists: worker processes read the cache
        subscribe_far_side()
        bus.subscribe(BarsStored, coordinator.on_bars_stored)
        bus.subscribe(BarsExhausted, coordinator.on_bars_exhausted)
        return coordinator

    @property
    def _far_side(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Subscribes what answers requests, here or in other processes; stops what cannot see the runner stop."""
        if self.ingestion_config.executor == PROCESSES:
            return self.process_ring.subscribe, self.process_ring.stop
        _ = self.provider  # made now: where that cannot be, nothing is touched
        return self.subscribe_worker_ring, lambda: None

    @cached_property
    def process_ring(self) -> ProcessRing:
        from marketpipe.bootstrap.process_ring import ProcessRing

        if self.market_data_provider is not None:
            raise ConfigurationError("executor: processes makes providers from the configuration; use threads")
        config = self.ingestion_config
        return ProcessRing(config, self.alpaca_credentials if config.provider == "alpaca" else None, self.bus)

    @cached_property
    def auditor(self) -> AuditCoordinator:
        """With a ring of its own, in which bars are compared where they would be stored."""
        from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator
        from marketpipe.storage.application.bar_handlers import BarAuditor
        from marketpipe.storage.infrastructure.day_versions import ParquetBarComparer

        bus = self.bus.branch()
        auditor = AuditCoordinator(self.planner(self.state), self.state.checkpoints, bus, self.clock, self.runner())
        self.subscribe_fetching(bus)
        bus.subscribe(BarsValidated, BarAuditor(ParquetBarComparer(self.layout), bus).on_bars_validated)
        bus.subscribe(BarsCompared, auditor.on_bars_compared)
        bus.subscribe(BarsExhausted, auditor.on_bars_exhausted)
        return auditor

    @cached_property
    def reviewer(self) -> StoredBarsReviewer:
        from marketpipe.storage.application.bar_handlers import StoredBarsReviewer

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
        for name in ("process_ring", "provider", "state", "_no_state"):
            if name in vars(self):
                vars(self)[name].close()
        if "syncers" in vars(self):
            self.syncers.shutdown()

    def _interrupted_work(self, identity: DatasetIdentity) -> InterruptedWork:
        from marketpipe.ingestion.application.recovery import InterruptedWork
        from marketpipe.storage.infrastructure.file_inventory import ParquetFilesLeftBehind

        files = ParquetFilesLeftBehind(self.layout, self.stored_files, self.files, identity)
        return InterruptedWork(self.state, files, self.calendar, self._finality, self.clock)
