from __future__ import annotations

from attrs import field, frozen

from marketpipe.ingestion.domain.plan_estimate import PlanEstimate
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay


@frozen
class IngestionPlan:
    """Counts are symbol-days. ``settled`` need no request; ``not_begun`` lie in sessions that have no bars yet.

    ``afterwards`` are those of the ``batches`` that share symbol-days with others, and have to wait for them.
    A symbol-day whose early and late hours are asked for apart counts twice among the ``planned``. ``unrecorded`` are
    planned though a file lies there: nobody has written down what it is.
    """

    batches: tuple[BarsRequest, ...] = field(repr=lambda batches: f"<{len(batches)} batches>")
    settled: int
    not_begun: int
    estimate: PlanEstimate
    afterwards: frozenset[int] = frozenset()
    """By their numbers."""
    unrecorded: frozenset[SymbolDay] = field(default=frozenset(), repr=False)

    @property
    def phases(self) -> tuple[tuple[BarsRequest, ...], ...]:
        """No two batches of one phase have a symbol-day in common."""
        first = tuple(batch for batch in self.batches if batch.batch_id not in self.afterwards)
        return first, tuple(batch for batch in self.batches if batch.batch_id in self.afterwards)

    @property
    def planned(self) -> int:
        return sum(len(batch.symbols) * len(batch.sessions) for batch in self.batches)
