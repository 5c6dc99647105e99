from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars
from marketpipe.shared_kernel.events.bar_events import RuleFinding


@frozen
class ValidationResult:
    """The split: every bar is in exactly one of ``accepted`` and ``rejected``; ``findings`` count warnings too."""

    accepted: ColumnarBars = field(repr=False)
    rejected: ColumnarBars = field(repr=False)
    findings: tuple[RuleFinding, ...] = ()
