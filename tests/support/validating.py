"""Validation without columns, by the plain evaluators and jsonschema itself, to compare the real one with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from attrs import frozen
from jsonschema import Draft202012Validator

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.predicate import Record, Severity, holds
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import sessions
from marketpipe.validation.application.bar_validator import ValidationResult
from marketpipe.validation.domain.business_rules import BUSINESS_RULES, SCHEMA_RULE, SEQUENCE_RULES, RuleBook
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceRule, SymbolBarsAggregate
from marketpipe.validation.domain.validation_rule import ValidationRule
from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
from marketpipe.validation.infrastructure.column_masks import bar_columns
from marketpipe.validation.infrastructure.columnar_validator import ColumnarValidator
from marketpipe.validation.infrastructure.schema_validator import SchemaValidator
from tests.support.bar_strategies import Row
from tests.support.builders import CALENDAR

SCHEMA: Mapping[str, Any] = json.loads((Path(__file__).parents[2] / "schema" / "schema_v1.json").read_text("utf-8"))
RULES: tuple[ValidationRule | SequenceRule, ...] = (*BUSINESS_RULES, *SEQUENCE_RULES)
LAX_SCHEMA: Mapping[str, Any] = {"type": "object"}
"""Accepts every bar, so that the business rules get bars that schema_v1.json would have rejected first."""
LONG_AFTER = Timestamp.parse("2025-06-02T12:00:00Z")


@frozen
class Setting:
    severities: Mapping[str, Severity] = {}
    schema: Mapping[str, Any] = SCHEMA
    kind: SessionKind = SessionKind.EXTENDED
    closing_auction: int | None = None
    now: Timestamp = LONG_AFTER

    @cached_property
    def rules(self) -> RuleBook:
        return RuleBook.with_severities(self.severities)

    @cached_property
    def severity_of(self) -> Mapping[str, Severity]:
        in_force: tuple[ValidationRule | SequenceRule, ...] = (*self.rules.bar_rules, *self.rules.sequence_rules)
        return {SCHEMA_RULE: Severity.ERROR, **{rule.name: rule.severity for rule in in_force}}


def validated(bars: ColumnarBars, setting: Setting = Setting()) -> ValidationResult:
    """Validate on columns, as the pipeline does."""
    rules = BusinessRuleValidator(setting.rules)
    schema, columns_of = (
        _schema_validator(json.dumps(setting.schema)),
        partial(bar_columns, closing_auction=setting.closing_auction),
    )
    validator = ColumnarValidator(schema, rules, CALENDAR, setting.kind, columns_of)
    return validator.validate(bars, setting.now)


@lru_cache
def _schema_validator(schema: str) -> SchemaValidator:
    return SchemaValidator(json.loads(schema))


def broken_rules(symbol_day: SymbolDay, rows: Sequence[Row], setting: Setting) -> list[list[str]]:
    """Return for every bar of a symbol-day the names of the rules it breaks, by the plain evaluators."""
    schema = Draft202012Validator(setting.schema)
    records = _records(symbol_day, rows, setting)
    names = [
        [rule.name for rule in setting.rules.bar_rules if not holds(rule.predicate, record)]
        if schema.is_valid(json_record(symbol_day, row))
        else [SCHEMA_RULE]
        for row, record in zip(rows, records, strict=True)
    ]
    for rule in setting.rules.sequence_rules:
        fit = [i for i, broken in enumerate(names) if not is_error(broken, setting)]
        aggregate = SymbolBarsAggregate(symbol_day, [records[i] for i in fit])
        for position in aggregate.offenders(rule):
            names[fit[position]].append(rule.name)
    return names


def is_error(broken: Sequence[str], setting: Setting) -> bool:
    return any(setting.severity_of[name] is Severity.ERROR for name in broken)


def json_record(symbol_day: SymbolDay, row: Row) -> dict[str, object]:
    """Return one canonical row as the JSON object that schema/schema_v1.json describes."""
    moment = row["timestamp"]
    text = None if moment is None else str(Timestamp(moment))
    return {"symbol": str(symbol_day.symbol), **row, "timestamp": text, "schema_version": 1}


def _records(symbol_day: SymbolDay, rows: Sequence[Row], setting: Setting) -> list[Record]:
    found = sessions(str(symbol_day.trading_date), str(symbol_day.trading_date))
    window = found[0].window(setting.kind) if found else None
    context = {
        "session_start": window.start.epoch_micros if window else None,
        "session_end": window.end.epoch_micros if window else None,
        "now": setting.now.epoch_micros,
    }
    return [{**row, "timestamp": _micros(row["timestamp"]), **context} for row in rows]


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else Timestamp(moment).epoch_micros


def with_property(name: str, keywords: object) -> Mapping[str, Any]:
    """Return schema/schema_v1.json with one property changed."""
    return {**SCHEMA, "properties": {**SCHEMA["properties"], name: keywords}}


def rows_of(bars: ColumnarBars, symbol_day: SymbolDay) -> list[Row]:
    """Return the canonical columns of one symbol-day's slice."""
    (part,) = (part for part in bars.slices if part.symbol_day == symbol_day)
    rows: list[Row] = pa.table(bars).select(BAR_SCHEMA.names).slice(part.offset, part.length).to_pylist()
    return rows


def column(bars: ColumnarBars, name: str) -> list[Any]:
    values: list[Any] = pa.table(bars)[name].to_pylist()
    return values
