"""Rules for one bar by itself, as data. Rules for a bar among its neighbours are in symbol_bars_aggregate.py.

Both kinds have two evaluators with the same meaning: a plain one in the domain, which defines it, and one over Arrow
columns (infrastructure/column_masks.py), which runs on real data. Property tests compare the two.
"""

from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Predicate, Severity


@frozen
class ValidationRule:
    """A condition on one OHLCV bar by itself. ``complaint`` completes the sentence "the bar …" if it does not hold."""

    name: str
    severity: Severity
    predicate: Predicate
    complaint: str
