from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.validation.domain.business_rules import RuleBook
from marketpipe.validation.domain.validation_rule import SequenceRule, ValidationRule
from marketpipe.validation.infrastructure.column_masks import BarColumns, SequenceColumns, mask, offenders

Bools = npt.NDArray[np.bool_]


@frozen
class Offence:
    """``rows`` is True where a bar does not satisfy ``rule``; at least one is."""

    rule: ValidationRule | SequenceRule
    rows: Bools


class BusinessRuleValidator:
    """Holds columns of bars against a rule book."""

    def __init__(self, rules: RuleBook) -> None:
        self._rules = rules

    def offences(self, columns: BarColumns, unfit: Bools) -> list[Offence]:
        """In the order of the rule book. ``unfit`` rows, which the schema refused, are not judged again.

        Sequence rules compare only bars that satisfy every error rule before them: a bad bar must not cost a good one.
        """
        found = [offence for rule in self._rules.bar_rules if (offence := _of_bars(rule, columns, unfit))]
        out = unfit.copy()
        for offence in found:
            if offence.rule.severity is Severity.ERROR:
                out |= offence.rows
        return [*found, *self._of_sequences(columns, out)]

    def _of_sequences(self, columns: BarColumns, out: Bools) -> Iterator[Offence]:
        fit = np.flatnonzero(~out)
        if not len(fit):
            return
        sequence = _sequence(columns, fit)
        for rule in self._rules.sequence_rules:
            bad = offenders(rule, sequence)
            if not bad.any():
                continue
            rows = np.zeros(columns.num_rows, np.bool_)
            rows[fit[bad]] = True
            yield Offence(rule, rows)
            if rule.severity is Severity.ERROR:
                fit = fit[~bad]
                sequence = _sequence(columns, fit)


def _of_bars(rule: ValidationRule, columns: BarColumns, unfit: Bools) -> Offence | None:
    holds: Bools = mask(rule.predicate, columns.fields).to_numpy(zero_copy_only=False)
    bad = ~holds & ~unfit
    return Offence(rule, bad) if bad.any() else None


def _sequence(columns: BarColumns, rows: npt.NDArray[np.int64]) -> SequenceColumns:
    owner = np.repeat(np.arange(len(columns.slices)), [part.length for part in columns.slices])
    prices = (_numbers(columns.fields[name])[rows] for name in ("high", "low", "close"))
    return SequenceColumns(owner[rows], columns.fields["timestamp"].fill_null(0).to_numpy()[rows], *prices)


def _numbers(array: pa.Array) -> npt.NDArray[np.float64]:
    numbers: npt.NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    return numbers
