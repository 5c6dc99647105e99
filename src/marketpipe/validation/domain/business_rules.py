"""The rules every ingested bar is held against, as data. Severities are defaults; the configuration may change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean
from marketpipe.shared_kernel.domain.ohlcv_bar import HIGH, INVARIANTS, LOW, VOLUME, VWAP
from marketpipe.shared_kernel.domain.predicate import Field, IsNull, Remainder, Severity
from marketpipe.validation.domain.validation_rule import SequenceCheck, SequenceRule, ValidationRule

SCHEMA_RULE: Final = "schema"
"""The JSON Schema's own name among the rules."""

ALWAYS_ERRORS: Final = (
    SCHEMA_RULE,
    "prices_finite",
    "prices_positive",
    "volume_not_negative",
    "trade_count_not_negative",
    "vwap_not_negative",
)
"""Without proper numbers a bar cannot be stored: the schema demands the same, so no severity could let it pass."""

TIMESTAMP, NOW, STEP = Field("timestamp"), Field("now"), 60_000_000
SESSION_START, SESSION_END = Field("session_start"), Field("session_end")

_COMPLAINTS: Final = {
    "prices_finite": "has a price that is not a finite number",
    "prices_positive": "has a price that is not above zero",
    "high_is_highest": "has a high below its open, low or close",
    "low_is_lowest": "has a low above its open, high or close",
    "volume_not_negative": "has a volume below zero or not finite",
    "trade_count_not_negative": "has a trade count below zero",
    "vwap_not_negative": "has a vwap below zero or not finite",
}

BUSINESS_RULES: Final = (
    *(ValidationRule(name, Severity.ERROR, rule, _COMPLAINTS[name]) for name, rule in INVARIANTS.items()),
    ValidationRule(
        "vwap_within_range",
        Severity.WARNING,
        IsNull(VWAP) | VOLUME.equals(0) | ((LOW <= VWAP) & (VWAP <= HIGH)),
        "has a vwap outside low to high",
    ),
    ValidationRule(
        "timestamp_on_grid", Severity.ERROR, Remainder(TIMESTAMP, STEP).equals(0), "does not start on a full minute"
    ),
    ValidationRule(
        "on_trading_date", Severity.ERROR, ~IsNull(SESSION_START), "lies on a day on which the exchange was closed"
    ),
    ValidationRule(
        "within_session",
        Severity.ERROR,
        IsNull(SESSION_START) | ((SESSION_START <= TIMESTAMP) & (TIMESTAMP < SESSION_END)),
        "lies outside the hours of its session",
    ),
    ValidationRule("not_in_future", Severity.ERROR, TIMESTAMP <= NOW, "lies in the future"),
)

SEQUENCE_RULES: Final = (
    SequenceRule("unique_timestamp", Severity.ERROR, SequenceCheck.REPEATED, "was said again, differently or not"),
    SequenceRule("in_order", Severity.WARNING, SequenceCheck.OUT_OF_ORDER, "came after a later one"),
    SequenceRule("no_jump", Severity.WARNING, SequenceCheck.JUMP, "is half again above or below its neighbours", 1.5),
    SequenceRule("no_gap", Severity.OFF, SequenceCheck.GAP, "comes more than 30 minutes after the one before", 30),
)


@frozen
class RuleBook:
    """The rules in force; none of them is off."""

    bar_rules: tuple[ValidationRule, ...]
    sequence_rules: tuple[SequenceRule, ...]

    @classmethod
    def with_severities(cls, severities: Mapping[str, Severity]) -> RuleBook:
        """Raises ``ConfigurationError`` for a rule that does not exist or may not be changed."""
        _check_names(severities)
        bar_rules = (evolve(rule, severity=severities.get(rule.name, rule.severity)) for rule in BUSINESS_RULES)
        sequence = (evolve(rule, severity=severities.get(rule.name, rule.severity)) for rule in SEQUENCE_RULES)
        return cls(
            tuple(rule for rule in bar_rules if rule.severity is not Severity.OFF),
            tuple(rule for rule in sequence if rule.severity is not Severity.OFF),
        )


def _check_names(names: Iterable[str]) -> None:
    known = [*(rule.name for rule in BUSINESS_RULES), *(rule.name for rule in SEQUENCE_RULES)]
    for name in names:
        if name in ALWAYS_ERRORS:
            raise ConfigurationError(f"validation.severities: the rule {name!r} is always an error")
        if name not in known:
            raise ConfigurationError(f"validation.severities: no rule is called {name!r}; {did_you_mean(name, known)}")
