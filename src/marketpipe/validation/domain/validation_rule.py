from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.predicate import Predicate, Record, Severity, holds
from marketpipe.shared_kernel.events import RuleFinding


@frozen
class ValidationRule:
    """A condition that must hold of one OHLCV bar. ``complaint`` completes the sentence "this bar …"."""

    name: str
    severity: Severity
    predicate: Predicate
    complaint: str

    def satisfied_by(self, record: Record) -> bool:
        return holds(self.predicate, record)


@frozen
class ValidationResult:
    """The split: every bar is in exactly one of ``accepted`` and ``rejected``; ``findings`` count warnings too."""

    accepted: ColumnarBars = field(repr=False)
    rejected: ColumnarBars = field(repr=False)
    findings: tuple[RuleFinding, ...] = ()


class SequenceCheck(Enum):
    """What may be wrong with a bar among the others of its symbol-day."""

    REPEATED = "a later bar has the same timestamp"
    OUT_OF_ORDER = "an earlier bar has a later timestamp"
    JUMP = "its range lies more than `limit` times above or below the closes of both neighbours"
    GAP = "more than `limit` minutes lie between it and the bar before"


@frozen
class SequenceRule:
    name: str
    severity: Severity
    check: SequenceCheck
    complaint: str
    limit: float = 0.0
