from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.integrity_parts import IntegrityParts
from marketpipe.bootstrap.late_handler import LateHandler
from marketpipe.bootstrap.validation_parts import ValidationParts
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsFetched, BarsRequested, BarsValidated

if TYPE_CHECKING:
    from marketpipe.ingestion.application.leases import LeaseGuard
    from marketpipe.integration.application.bars_fetcher import BarsFetcher
    from marketpipe.storage.application.bar_handlers import BarStorer


@define(slots=False)
class WorkerParts(IntegrityParts, ValidationParts):
    """What a worker does, be it a thread or a process: from a request to durable files, and no checkpoint."""

    def subscribe_worker_ring(self) -> None:
        """From BarsRequested to BarsStored and BarsExhausted."""
        self.subscribe_fetching(self.bus)
        self.bus.subscribe(BarsValidated, self.guard.on_bars_validated)
        self.bus.subscribe(BarsValidated, LateHandler(lambda: self._storer.on_bars_validated))

    @property
    def _storer(self) -> BarStorer:
        from marketpipe.ingestion.application.recovery import RecordedFiles
        from marketpipe.storage.application.bar_handlers import BarStorer
        from marketpipe.storage.infrastructure.partition_manager import PartitionManager

        register = RecordedFiles(self.state.checkpoints)
        partitions = PartitionManager(
            self.layout, self.capabilities.identity, self.writer, self.files, self.clock, register
        )
        return BarStorer(partitions, self.bus)

    @property
    def guard(self) -> LeaseGuard:
        from marketpipe.ingestion.application.leases import LeaseGuard

        return LeaseGuard(self.state.leases, self.clock)

    def subscribe_fetching(self, bus: EventBus) -> None:
        bus.subscribe(BarsRequested, LateHandler(lambda: self._fetcher(bus).on_bars_requested))
        bus.subscribe(BarsFetched, LateHandler(lambda: self.validator(self.config.session, bus).on_bars_fetched))

    def _fetcher(self, bus: EventBus) -> BarsFetcher:
        from marketpipe.integration.application.bars_fetcher import BarsFetcher
        from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler

        return BarsFetcher(
            self.provider, WholeDayAssembler, bus, partial(ThreadPoolExecutor, 1, "marketpipe-ahead-page")
        )
