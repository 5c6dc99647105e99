"""The rules that every ingested bar is checked against, as data, with their default severities.

``BUSINESS_RULES`` look at one bar by itself, ``SEQUENCE_RULES`` at a bar among the others of its symbol-day. The
configuration (``validation.severities``) changes severities; ``RuleBook`` holds the rules that are then in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean
from marketpipe.shared_kernel.domain.ohlcv_bar import HIGH, INVARIANTS, LOW, VOLUME, VWAP
from marketpipe.shared_kernel.domain.predicate import Field, IsFinite, IsNull, Remainder, Severity
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.validation.domain.symbol_bars_aggregate import SequenceCheck, SequenceRule
from marketpipe.validation.domain.validation_rule import ValidationRule

R = TypeVar("R", ValidationRule, SequenceRule)

SCHEMA_RULE: Final = "schema"
"""The name under which violations of schema/schema_v1.json are reported, beside the rules below."""

ALWAYS_ERRORS: Final = (
    SCHEMA_RULE,
    "prices_finite",
    "prices_positive",
    "volume_not_negative",
    "trade_count_not_negative",
    "vwap_not_negative",
)
"""Rules whose severity cannot be changed: the schema demands the same, so a lower severity would let no bar pass."""

TIMESTAMP, NOW = Field("timestamp"), Field("now")
SESSION_START, SESSION_END = Field("session_start"), Field("session_end")
"""All in epoch microseconds, UTC. ``session_start`` is null on days on which the exchange was closed."""

_COMPLAINTS: Final = {
    "prices_finite": "has a price that is not a finite number",
    "prices_positive": "has a price that is not above zero",
    "high_is_highest": "has a high below its open, low or close",
    "low_is_lowest": "has a low above its open, high or close",
    "volume_not_negative": "has a volume below zero or not finite",
    "trade_count_not_negative": "has a trade count below zero",
    "vwap_not_negative": "has a vwap below zero or not finite",
}

LARGEST_VOLUME: Final = 2**53 - 1
"""Above it a double cannot hold every whole number, so the volume may not be the one that was sent."""

BUSINESS_RULES: Final = (
    *(ValidationRule(name, Severity.ERROR, rule, _COMPLAINTS[name]) for name, rule in INVARIANTS.items()),
    ValidationRule(
        "volume_exact",
        Severity.ERROR,
        ~IsFinite(VOLUME) | (VOLUME <= LARGEST_VOLUME),
        "has a volume too large to be held exactly",
    ),
    ValidationRule(
        "vwap_within_range",
        Severity.WARNING,
        IsNull(VWAP) | VOLUME.equals(0) | ((LOW <= VWAP) & (VWAP <= HIGH)),
        "has a vwap outside low to high",
    ),
    ValidationRule(
        "timestamp_on_grid",
        Severity.ERROR,
        Remainder(TIMESTAMP, MICROS_PER_MINUTE).equals(0),
        "does not start on a full minute",
    ),
    ValidationRule(
        "on_trading_date", Severity.ERROR, ~IsNull(SESSION_START), "is on a day on which the exchange was closed"
    ),
    ValidationRule(
        "within_session",
        Severity.ERROR,
        IsNull(SESSION_START) | ((SESSION_START <= TIMESTAMP) & (TIMESTAMP < SESSION_END)),
        "is outside the hours of its session",
    ),
    ValidationRule("not_in_future", Severity.ERROR, TIMESTAMP <= NOW, "is in the future"),
)

SEQUENCE_RULES: Final = (
    SequenceRule("unique_timestamp", Severity.ERROR, SequenceCheck.REPEATED, "has the same timestamp as a later bar"),
    SequenceRule("in_order", Severity.WARNING, SequenceCheck.OUT_OF_ORDER, "arrived after a bar with a later time"),
    SequenceRule(
        "no_jump", Severity.WARNING, SequenceCheck.JUMP, "is more than 1.5 times above or below both neighbours", 1.5
    ),
    SequenceRule("no_gap", Severity.OFF, SequenceCheck.GAP, "comes more than 30 minutes after the one before", 30),
)


MIDNIGHT, BARS_OF_THE_DAY = Field("midnight"), Field("bars_of_the_day")
"""``midnight`` is New York midnight of the day's session, null on days on which the exchange was closed."""

OFFICIAL_DAY_RULES: Final = (
    *(ValidationRule(name, Severity.ERROR, rule, _COMPLAINTS[name]) for name, rule in INVARIANTS.items()),
    ValidationRule(
        "on_trading_date", Severity.ERROR, ~IsNull(MIDNIGHT), "is on a day on which the exchange was closed"
    ),
    ValidationRule(
        "at_midnight",
        Severity.ERROR,
        IsNull(MIDNIGHT) | ((MIDNIGHT <= TIMESTAMP) & (TIMESTAMP <= MIDNIGHT)),
        "is not stamped New York midnight",
    ),
    ValidationRule(
        "one_a_day", Severity.ERROR, BARS_OF_THE_DAY.equals(1), "is one of several official bars of its day"
    ),
)
"""What every official daily bar is checked against. Its vwap is of all hours, so it may be outside low to high."""


@frozen
class RuleBook:
    """The rules in force: those whose severity is not ``off``, in the order in which they are checked."""

    bar_rules: tuple[ValidationRule, ...]
    sequence_rules: tuple[SequenceRule, ...]

    @classmethod
    def with_severities(cls, severities: Mapping[str, Severity]) -> RuleBook:
        """Return the rules with these severities by rule name; a rule that is not named keeps its default.

        Raises ``ConfigurationError`` for a name that no rule has, and for ``ALWAYS_ERRORS``.
        """
        _check_names(severities)
        return cls(_in_force(BUSINESS_RULES, severities), _in_force(SEQUENCE_RULES, severities))

    @classmethod
    def of_official_days(cls, severities: Mapping[str, Severity]) -> RuleBook:
        """Return the rules for official days; those that minute bars share have the configured severities."""
        return cls(_in_force(OFFICIAL_DAY_RULES, severities), ())


def _in_force(rules: Iterable[R], severities: Mapping[str, Severity]) -> tuple[R, ...]:
    chosen = (evolve(rule, severity=severities.get(rule.name, rule.severity)) for rule in rules)
    return tuple(rule for rule in chosen if rule.severity is not Severity.OFF)


def _check_names(names: Iterable[str]) -> None:
    known = [*(rule.name for rule in BUSINESS_RULES), *(rule.name for rule in SEQUENCE_RULES)]
    for name in names:
        if name in ALWAYS_ERRORS:
            raise ConfigurationError(f"validation.severities: the rule {name!r} is always an error")
        if name not in known:
            raise ConfigurationError(f"validation.severities: there is no rule {name!r}; {did_you_mean(name, known)}")
