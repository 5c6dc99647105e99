"""Business rules on whole columns: which rows break which rule, and which rows a rule looks at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.validation.domain.business_rules import RuleBook
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceRule
from marketpipe.validation.domain.validation_rule import ValidationRule
from marketpipe.validation.infrastructure.column_masks import (
    BarColumns,
    Bools,
    Floats,
    Int64s,
    SequenceColumns,
    failing,
    offenders,
)


@frozen
class Violation:
    """A rule that at least one bar breaks; ``rows`` is True for each row that does."""

    rule: ValidationRule | SequenceRule
    rows: Bools


class BusinessRuleValidator:
    """Check columns of bars against a rule book: rules for single bars first, then rules for sequences of bars."""

    def __init__(self, rules: RuleBook) -> None:
        self._rules = rules

    def violations(self, columns: BarColumns, malformed: Bools) -> list[Violation]:
        """Return the violations in the order of the rule book, warnings included.

        ``malformed`` rows, which the schema refused, are not checked again. A sequence rule compares only bars that
        break no error rule before it, sequence rules included: a bad bar must not make its good neighbours look bad.
        """
        found = [violation for rule in self._rules.bar_rules if (violation := _of_bars(rule, columns, malformed))]
        rejected = malformed.copy()
        for violation in found:
            if violation.rule.severity is Severity.ERROR:
                rejected |= violation.rows
        return [*found, *self._of_sequences(columns, np.flatnonzero(~rejected))]

    def _of_sequences(self, columns: BarColumns, rows: Int64s) -> Iterator[Violation]:
        if not len(rows):
            return
        sequence = _sequence(columns, rows)
        for rule in self._rules.sequence_rules:
            bad = offenders(rule, sequence)
            if not bad.any():
                continue
            violating = np.zeros(columns.num_rows, np.bool_)
            violating[rows[bad]] = True
            yield Violation(rule, violating)
            if rule.severity is Severity.ERROR:
                rows = rows[~bad]
                sequence = _sequence(columns, rows)


def _of_bars(rule: ValidationRule, columns: BarColumns, malformed: Bools) -> Violation | None:
    bad = failing(rule.predicate, columns.fields)
    if bad is None:
        return None
    bad &= ~malformed
    return Violation(rule, bad) if bad.any() else None


def _sequence(columns: BarColumns, rows: Int64s) -> SequenceColumns:
    owner = np.repeat(np.arange(len(columns.slices)), [part.length for part in columns.slices])
    prices = (_numbers(columns.fields[name])[rows] for name in ("high", "low", "close"))
    return SequenceColumns(owner[rows], columns.fields["timestamp"].fill_null(0).to_numpy()[rows], *prices)


def _numbers(array: pa.Array) -> Floats:
    numbers: Floats = array.to_numpy(zero_copy_only=False)  # nulls become NaN
    return numbers
