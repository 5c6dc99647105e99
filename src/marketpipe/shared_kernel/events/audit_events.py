from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.day_comparison import DayComparison
from marketpipe.shared_kernel.events.event import Event


@frozen
class AuditStarted(Event):
    """``planned`` symbol-days will be asked for again, in ``batches``."""

    planned: int
    batches: int


@frozen
class BarsCompared(Event):
    """What the provider says again, held against what is stored; nothing was changed by that."""

    request: BarsRequest
    days: tuple[DayComparison, ...] = field(repr=lambda days: f"<{len(days)} symbol-days>")


@frozen
class AuditFinished(Event):
    compared: int
    differing: int
