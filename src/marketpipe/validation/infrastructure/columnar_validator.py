"""Here a bar becomes accepted or rejected: ``ColumnarValidator.validate`` splits columns of bars by all rules in force.

A bar is rejected if the provider's record has a value that cannot be read, if it violates the JSON Schema
(schema_validator.py), or if it breaks a business rule whose severity is error (business_rule_validator.py). Storage
writes the rejected bars to the quarantine, with the rules they broke and the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingCalendar
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars, with_lengths
from marketpipe.validation.application.bar_validator import ValidationResult
from marketpipe.validation.domain.business_rules import SCHEMA_RULE
from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator, Violation
from marketpipe.validation.infrastructure.column_masks import BarColumns, Bools, bar_columns
from marketpipe.validation.infrastructure.schema_validator import SchemaValidator

REJECTED_SCHEMA = pa.schema(
    [*BAR_SCHEMA, *(pa.field(name, pa.string()) for name in ("rule", "severity", "reason", "raw"))]
)
"""Rejected bars: ``rule`` is the first error rule that was broken, ``reason`` the complaints of all, ``raw`` the
provider's own text of a record that could not be read."""


ColumnsOf = Callable[[ColumnarBars, TradingCalendar, SessionKind, Timestamp], BarColumns]


class ColumnarValidator:
    """The schema first, then the business rules on the rows that satisfy it."""

    def __init__(
        self,
        schema: SchemaValidator,
        rules: BusinessRuleValidator,
        calendar: TradingCalendar,
        kind: SessionKind,
        columns_of: ColumnsOf = bar_columns,
    ) -> None:
        """``kind``: bars outside these hours of their session are rejected (rule within_session).

        ``columns_of`` makes the columns that the rules read: those of minute bars, or of official days.
        """
        self._schema, self._rules, self._calendar, self._kind = schema, rules, calendar, kind
        self._columns_of = columns_of

    def validate(self, bars: ColumnarBars, now: Timestamp) -> ValidationResult:
        columns = self._columns_of(bars, self._calendar, self._kind, now)
        malformed = _unreadable(columns) | dict(self._schema.complaints(columns))
        not_a_bar = np.zeros(columns.num_rows, np.bool_)
        not_a_bar[list(malformed)] = True
        violations = self._rules.violations(columns, not_a_bar)
        errors = [violation for violation in violations if violation.rule.severity is Severity.ERROR]
        rejected = np.logical_or.reduce([not_a_bar, *(violation.rows for violation in errors)])
        accepted = _accepted(columns.table.select(BAR_SCHEMA.names), bars.slices, ~rejected)
        findings = _findings(columns, not_a_bar, violations)
        return ValidationResult(accepted, _rejected(columns, bars.slices, rejected, malformed, errors), findings)


def _unreadable(columns: BarColumns) -> dict[int, str]:
    """Return the rows of records with a value that the parser could not read, even one that a bar may lack."""
    if "raw" not in columns.table.column_names:
        return {}
    rows = np.flatnonzero(columns.table["raw"].is_valid().to_numpy())
    return {int(row): "bar: the provider's record has a value that cannot be read" for row in rows}


def _accepted(table: pa.Table, slices: tuple[SymbolDaySlice, ...], rows: Bools) -> ArrowBars:
    if rows.all():  # nearly always: pass the provider's columns on without a copy
        return ArrowBars(table, slices)
    return ArrowBars(table.filter(pa.array(rows)), with_lengths(slices, _counts(slices, rows)))


def _rejected(
    columns: BarColumns,
    slices: tuple[SymbolDaySlice, ...],
    rejected: Bools,
    malformed: Mapping[int, str],
    errors: Iterable[Violation],
) -> ArrowBars:
    if not rejected.any():
        return ArrowBars(REJECTED_SCHEMA.empty_table(), ())
    rows = np.flatnonzero(rejected)
    broken = [_broken_rules(int(row), malformed, errors) for row in rows]
    picked = columns.table.take(pa.array(rows))
    raw = picked["raw"] if "raw" in picked.column_names else pa.nulls(len(rows), pa.string())
    reasons = {
        "rule": [rules[0][0] for rules in broken],
        "severity": [str(Severity.ERROR)] * len(rows),
        "reason": ["; ".join(complaint for _, complaint in rules) for rules in broken],
    }
    arrays = [*picked.select(BAR_SCHEMA.names).columns, *(pa.array(reasons[key]) for key in reasons), raw]
    parts = with_lengths(slices, _counts(slices, rejected))
    return ArrowBars(pa.table(arrays, schema=REJECTED_SCHEMA), tuple(part for part in parts if part.length))


def _broken_rules(row: int, malformed: Mapping[int, str], errors: Iterable[Violation]) -> list[tuple[str, str]]:
    """Return the error rules that the bar breaks, each with its complaint, in the order in which they are checked."""
    schema = [(SCHEMA_RULE, malformed[row])] if row in malformed else []
    return schema + [(error.rule.name, f"the bar {error.rule.complaint}") for error in errors if error.rows[row]]


def _findings(columns: BarColumns, not_a_bar: Bools, violations: Iterable[Violation]) -> tuple[RuleFinding, ...]:
    by_rule = [(SCHEMA_RULE, Severity.ERROR, not_a_bar)]
    by_rule += [(violation.rule.name, violation.rule.severity, violation.rows) for violation in violations]
    return tuple(
        RuleFinding(part.symbol_day, rule, severity, count)
        for rule, severity, rows in by_rule
        if rows.any()
        for part, count in zip(columns.slices, _counts(columns.slices, rows), strict=True)
        if count
    )


def _counts(slices: tuple[SymbolDaySlice, ...], rows: Bools) -> list[int]:
    """Return how many of ``rows`` are True in each slice."""
    return [int(rows[part.offset : part.offset + part.length].sum()) for part in slices]
