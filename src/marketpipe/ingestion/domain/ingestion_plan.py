from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.bars_request import BarsRequest


@frozen
class IngestionPlan:
    """Counts are symbol-days. ``settled`` need no request; ``not_begun`` lie in sessions that have no bars yet."""

    batches: tuple[BarsRequest, ...] = field(repr=lambda batches: f"<{len(batches)} batches>")
    settled: int
    not_begun: int

    @property
    def planned(self) -> int:
        return sum(len(batch.symbols) * len(batch.sessions) for batch in self.batches)
