from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.validation.domain.business_rules import ALWAYS_ERRORS, BUSINESS_RULES, RuleBook
from tests.support.validating import RULES

NAMES = [rule.name for rule in RULES]
CHANGEABLE = [name for name in NAMES if name not in ALWAYS_ERRORS]


def _in_force(book: RuleBook) -> dict[str, Severity]:
    bar_rules = {rule.name: rule.severity for rule in book.bar_rules}
    return {**bar_rules, **{rule.name: rule.severity for rule in book.sequence_rules}}


@given(st.dictionaries(st.sampled_from(CHANGEABLE), st.sampled_from(Severity)))
def test_a_rule_has_the_severity_it_was_given_and_is_gone_when_off(severities: dict[str, Severity]) -> None:
    default = {rule.name: rule.severity for rule in RULES}
    wanted = {name: severity for name, severity in {**default, **severities}.items() if severity is not Severity.OFF}
    assert _in_force(RuleBook.with_severities(severities)) == wanted


def test_changing_a_severity_changes_nothing_else_of_a_rule() -> None:
    book = RuleBook.with_severities({"no_gap": Severity.ERROR, "no_jump": Severity.OFF})
    assert [(rule.name, rule.limit) for rule in book.sequence_rules] == [
        ("unique_timestamp", 0.0),
        ("in_order", 0.0),
        ("no_gap", 30),
    ]
    assert book.bar_rules == BUSINESS_RULES


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hig_is_highest", "high_is_highest"),
        ("no_gaps", "no_gap"),
        ("vwap_in_range", "vwap_within_range"),
        ("NO_JUMP", None),
    ],
)
def test_an_unknown_rule_is_refused_with_the_nearest_name(typed: str, meant: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        RuleBook.with_severities({typed: Severity.OFF})
    hint = f"did you mean '{meant}'?" if meant else f"use one of: {', '.join(sorted(NAMES))}"
    assert str(error.value) == f"validation.severities: there is no rule '{typed}'; {hint}"


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("name", ALWAYS_ERRORS)
def test_what_the_schema_demands_cannot_be_given_another_severity(name: str, severity: Severity) -> None:
    with pytest.raises(ConfigurationError) as error:
        RuleBook.with_severities({"no_jump": Severity.OFF, name: severity})
    assert str(error.value) == f"validation.severities: the rule '{name}' is always an error"
