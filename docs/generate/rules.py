"""The page of all validation rules, from the rules themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from docs.generate.tables import code, table

from marketpipe.validation.domain.business_rules import (
    ALWAYS_ERRORS,
    BUSINESS_RULES,
    OFFICIAL_DAY_RULES,
    SCHEMA_RULE,
    SEQUENCE_RULES,
)
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceRule
from marketpipe.validation.domain.validation_rule import ValidationRule

INTRODUCTION: Final = """# Validation rules

Every bar is checked against a JSON Schema (`schema/schema_v1.json`) and against these rules. A bar that breaks a rule of
severity `error` goes to quarantine with the reason and its raw values; the other bars of the day are stored. A bar that
breaks a rule of severity `warning` is stored and counted. `off` means that the rule is not checked.

`validation: {severities: {no_gap: warning}}` in the configuration changes a severity, but not that of a rule which is
*always* an error: the schema demands the same.

## Minute bars

"""
OFFICIAL: Final = """
## Official days

The exchange's daily bars have rules of their own. Their vwap is of all hours, so it may be outside low to high.

"""
SCHEMA_ROW: Final = (code(SCHEMA_RULE), "error, always", "The bar has a value of another type than the schema allows.")


def page() -> str:
    minutes = table(("rule", "default", "meaning"), [SCHEMA_ROW, *_rows([*BUSINESS_RULES, *SEQUENCE_RULES])])
    return INTRODUCTION + minutes + OFFICIAL + table(("rule", "default", "meaning"), _rows(OFFICIAL_DAY_RULES))


def _rows(rules: Iterable[ValidationRule | SequenceRule]) -> list[tuple[str, str, str]]:
    return [(code(rule.name), _severity(rule), f"The bar {rule.complaint}.") for rule in rules]


def _severity(rule: ValidationRule | SequenceRule) -> str:
    return f"{rule.severity}, always" if rule.name in ALWAYS_ERRORS else str(rule.severity)
