from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.integrity_parts import IntegrityParts
from marketpipe.bootstrap.validation_parts import ValidationParts
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.bar_events import BarsFetched, BarsRequested, BarsValidated

if TYPE_CHECKING:
    from marketpipe.ingestion.application.claim_fence import ClaimFence


@define(slots=False)
class WorkerParts(IntegrityParts, ValidationParts):
    """What a worker does, be it a thread or a process: from a request to durable files, and no checkpoint."""

    def subscribe_worker_ring(self) -> None:
        """From BarsRequested to BarsStored and BarsExhausted."""
        from marketpipe.ingestion.application.recorded_files import RecordedFiles
        from marketpipe.storage.application.bar_storer import BarStorer
        from marketpipe.storage.infrastructure.partition_manager import PartitionManager

        bus, identity, register = self.bus, self.traits.identity, RecordedFiles(self.state)
        partitions = PartitionManager(self.layout, identity, self.writer, self.files, self.clock, register)
        self.subscribe_fetching(bus)
        bus.subscribe(BarsValidated, self.fence.on_bars_validated)
        bus.subscribe(BarsValidated, BarStorer(partitions, bus).on_bars_validated)

    @property
    def fence(self) -> ClaimFence:
        from marketpipe.ingestion.application.claim_fence import ClaimFence

        return ClaimFence(self.state.claims, self.clock)

    def subscribe_fetching(self, bus: EventBus) -> None:
        from marketpipe.integration.application.bars_fetcher import BarsFetcher
        from marketpipe.integration.infrastructure.pages_ahead import PagesAhead
        from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler

        fetcher = BarsFetcher(PagesAhead(self.provider), WholeDayAssembler, bus)
        bus.subscribe(BarsRequested, fetcher.on_bars_requested)
        bus.subscribe(BarsFetched, self.validator(self.config.session, bus).on_bars_fetched)
