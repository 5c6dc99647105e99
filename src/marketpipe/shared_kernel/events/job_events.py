from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.symbol_day_outcome import SymbolDayOutcome
from marketpipe.shared_kernel.events.event import Event


@frozen
class JobStarted(Event):
    """Counts are symbol-days: ``planned`` will be asked for, ``settled`` are known already."""

    job_id: int
    provider: str
    planned: int
    settled: int
    batches: int


@frozen
class SymbolDaysRecorded(Event):
    """A checkpoint has been committed for each; their files are durable."""

    job_id: int
    provider: str
    outcomes: tuple[SymbolDayOutcome, ...] = field(repr=lambda outcomes: f"<{len(outcomes)} symbol-days>")


@frozen
class JobFinished(Event):
    """``state`` is completed, failed or interrupted."""

    job_id: int
    provider: str
    state: str
