from __future__ import annotations

from marketpipe.testing import FakeClock
from marketpipe.validation.domain.business_rules import RuleBook
from marketpipe.validation.infrastructure.broken_rules import BrokenRules
from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
from tests.support.builders import CALENDAR, columnar, day
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, minutes

RULES = BrokenRules(BusinessRuleValidator(RuleBook.with_severities({})), CALENDAR, FakeClock())


def test_the_bars_that_break_a_rule_come_by_rule_and_symbol_day() -> None:
    first, second = minutes(TUESDAY, 5), minutes(WEDNESDAY, 5)
    first[1] |= {"vwap": 1.0}
    first[3] |= {"vwap": 2.0}
    second[0] |= {"vwap": 3.0}

    found = list(RULES.of(columnar((day("AAPL", TUESDAY), first), (day("MSFT", WEDNESDAY), second))))

    assert [(each.rule, each.severity, each.day.symbol_day) for each in found] == [
        ("vwap_within_range", "warning", day("AAPL", TUESDAY)),
        ("vwap_within_range", "warning", day("MSFT", WEDNESDAY)),
    ]
    assert [each.bars["vwap"].to_pylist() for each in found] == [[1.0, 2.0], [3.0]]
    assert set(found[0].bars["reason"].to_pylist()) == {"the bar has a vwap outside low to high"}


def test_good_bars_and_no_bars_break_nothing() -> None:
    assert list(RULES.of(columnar((day("AAPL", TUESDAY), minutes(TUESDAY, 5))))) == []
    assert list(RULES.of(columnar())) == []
