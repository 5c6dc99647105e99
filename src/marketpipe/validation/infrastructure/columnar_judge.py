from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingCalendar
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars, resliced
from marketpipe.validation.domain.business_rules import SCHEMA_RULE
from marketpipe.validation.domain.validation_rule import ValidationResult
from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator, Offence
from marketpipe.validation.infrastructure.column_masks import BarColumns, bar_columns
from marketpipe.validation.infrastructure.schema_validator import SchemaValidator

Bools = npt.NDArray[np.bool_]
REJECTED_SCHEMA = pa.schema(
    [*BAR_SCHEMA, *(pa.field(name, pa.string()) for name in ("rule", "severity", "reason", "raw"))]
)


class ColumnarJudge:
    """Schema first, then the business rules; what no error rule keeps out is accepted."""

    def __init__(
        self, schema: SchemaValidator, rules: BusinessRuleValidator, calendar: TradingCalendar, kind: SessionKind
    ) -> None:
        self._schema, self._rules, self._calendar, self._kind = schema, rules, calendar, kind

    def judge(self, bars: ColumnarBars, now: Timestamp) -> ValidationResult:
        columns = bar_columns(bars, self._calendar, self._kind, now)
        malformed = _unread(columns) | dict(self._schema.complaints(columns))
        unfit = np.zeros(columns.num_rows, np.bool_)
        unfit[list(malformed)] = True
        offences = self._rules.offences(columns, unfit)
        errors = [offence for offence in offences if offence.rule.severity is Severity.ERROR]
        out = np.logical_or.reduce([unfit, *(offence.rows for offence in errors)])
        findings = (*_counted(columns, SCHEMA_RULE, Severity.ERROR, unfit), *_findings(columns, offences))
        accepted = _part(columns.table.select(BAR_SCHEMA.names), bars.slices, ~out)
        return ValidationResult(accepted, _rejected(columns, bars.slices, out, malformed, errors), findings)


def _unread(columns: BarColumns) -> dict[int, str]:
    """Records of which something could not be read, though it may be something that a bar need not have."""
    if "raw" not in columns.table.column_names:
        return {}
    rows = np.flatnonzero(columns.table["raw"].is_valid().to_numpy())
    return {int(row): "bar: the provider's record has a value that cannot be read" for row in rows}


def _part(table: pa.Table, slices: tuple[SymbolDaySlice, ...], rows: Bools) -> ArrowBars:
    if rows.all():
        return ArrowBars(table, slices)
    lengths = (int(rows[part.offset : part.offset + part.length].sum()) for part in slices)
    return ArrowBars(table.filter(pa.array(rows)), resliced(slices, lengths))


def _rejected(
    columns: BarColumns,
    slices: tuple[SymbolDaySlice, ...],
    out: Bools,
    malformed: Mapping[int, str],
    errors: Iterable[Offence],
) -> ArrowBars:
    if not out.any():
        return ArrowBars(REJECTED_SCHEMA.empty_table(), ())
    rows = np.flatnonzero(out)
    reasons = [_reasons(int(row), malformed, errors) for row in rows]
    picked = columns.table.take(pa.array(rows))
    raw = picked["raw"] if "raw" in picked.column_names else pa.nulls(len(rows), pa.string())
    words = {
        "rule": [names[0] for names, _ in reasons],
        "severity": [str(Severity.ERROR)] * len(rows),
        "reason": ["; ".join(complaints) for _, complaints in reasons],
    }
    arrays = [*picked.select(BAR_SCHEMA.names).columns, *(pa.array(words[key]) for key in words), raw]
    lengths = [int(out[part.offset : part.offset + part.length].sum()) for part in slices]
    kept = resliced(slices, lengths)
    return ArrowBars(pa.table(arrays, schema=REJECTED_SCHEMA), tuple(part for part in kept if part.length))


def _reasons(row: int, malformed: Mapping[int, str], errors: Iterable[Offence]) -> tuple[list[str], list[str]]:
    """Every error rule the bar breaks, and for each what is wrong with it."""
    broken = [(SCHEMA_RULE, malformed[row])] if row in malformed else []
    broken += [(offence.rule.name, f"the bar {offence.rule.complaint}") for offence in errors if offence.rows[row]]
    return [name for name, _ in broken], [complaint for _, complaint in broken]


def _findings(columns: BarColumns, offences: Iterable[Offence]) -> list[RuleFinding]:
    counted = (_counted(columns, offence.rule.name, offence.rule.severity, offence.rows) for offence in offences)
    return [finding for findings in counted for finding in findings]


def _counted(columns: BarColumns, rule: str, severity: Severity, rows: Bools) -> list[RuleFinding]:
    if not rows.any():
        return []
    counts = ((part, int(rows[part.offset : part.offset + part.length].sum())) for part in columns.slices)
    return [RuleFinding(part.symbol_day, rule, severity, count) for part, count in counts if count]
