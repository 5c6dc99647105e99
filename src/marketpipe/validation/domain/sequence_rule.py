from __future__ import annotations

from enum import Enum

from attrs import frozen

from marketpipe.shared_kernel.domain.severity import Severity


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
