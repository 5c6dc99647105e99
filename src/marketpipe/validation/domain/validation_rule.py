"""Rules as data: what a rule is, for one bar by itself and for a bar among its neighbours.

Each kind of rule has two evaluators with the same meaning, held together by property tests: a plain one in the domain
(``ValidationRule.satisfied_by`` and ``SymbolBarsAggregate``), and one over Arrow columns
(infrastructure/column_masks.py), which is what runs on real data.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Predicate, Record, Severity, holds


@frozen
class ValidationRule:
    """A condition on one OHLCV bar by itself. ``complaint`` completes the sentence "the bar …" if it does not hold."""

    name: str
    severity: Severity
    predicate: Predicate
    complaint: str

    def satisfied_by(self, record: Record) -> bool:
        return holds(self.predicate, record)


class SequenceCheck(Enum):
    """What can be wrong with a bar among the other bars of its symbol-day."""

    REPEATED = "a later bar has the same timestamp"
    OUT_OF_ORDER = "an earlier bar has a later timestamp"
    JUMP = "its range is more than `limit` times above or below the closes of both neighbours"
    GAP = "more than `limit` minutes are between it and the bar before"


@frozen
class SequenceRule:
    """A condition on a bar among the bars of its symbol-day, in the order in which the provider sent them.

    ``limit`` is the check's only number: a factor for ``JUMP``, minutes for ``GAP``, unused by the others.
    """

    name: str
    severity: Severity
    check: SequenceCheck
    complaint: str
    limit: float = 0.0
