from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Predicate, Record, holds
from marketpipe.shared_kernel.domain.severity import Severity


@frozen
class ValidationRule:
    """A condition that must hold of one OHLCV bar. ``complaint`` completes the sentence "this bar …"."""

    name: str
    severity: Severity
    predicate: Predicate
    complaint: str

    def satisfied_by(self, record: Record) -> bool:
        return holds(self.predicate, record)
