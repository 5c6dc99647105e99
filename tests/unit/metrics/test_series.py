from __future__ import annotations

from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.ingestion.domain.ingestion_job import JobState
from marketpipe.metrics import metrics_in, series
from marketpipe.metrics.series import ALL, ERROR_KINDS, Series, SeriesType
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.validation.domain.business_rules import (
    BUSINESS_RULES,
    OFFICIAL_DAY_RULES,
    SCHEMA_RULE,
    SEQUENCE_RULES,
)


def test_names_follow_the_conventions_of_prometheus() -> None:
    assert len({each.name for each in ALL}) == len(ALL)
    for each in ALL:
        assert each.name.endswith("_total") == (each.type is SeriesType.COUNTER), each.name
        assert each.name.endswith("_timestamp_seconds") == (each.unit == "Unix seconds"), each.name
        assert ("bytes" in each.name) == (each.unit == "bytes"), each.name


def test_every_series_names_its_store_and_none_has_a_symbol_as_a_label() -> None:
    for each in ALL:
        assert each.all_labels[:3] == ("store", "provider", "session")
        assert not {"symbol", "job", "instance"} & set(each.all_labels)  # the last two are those of a scrape target


def test_help_is_one_line_of_sentences() -> None:
    for each in ALL:
        assert (each.help.endswith(".") and "\n" not in each.help and each.help[0].isupper()) or each.help[0] == "1"


def test_the_values_of_labels_are_those_of_the_code() -> None:
    def values(of: Series, label: str) -> set[str]:
        return set(of.values[label])

    assert values(series.STORE_COVERAGE, "verdict") == {str(each) for each in Verdict}
    assert values(series.STORE_SYMBOL_DAYS, "outcome") == {str(each) for each in Outcome}
    assert values(series.JOBS, "state") == {str(each) for each in JobState} - {"running"}
    rules = {rule.name for rule in (*BUSINESS_RULES, *SEQUENCE_RULES, *OFFICIAL_DAY_RULES)}
    assert values(series.RULE_VIOLATIONS, "rule") == rules | {SCHEMA_RULE}
    assert {"timeout", "credentials", "symbol_day_failed", "other"} <= set(ERROR_KINDS)


def test_a_registry_has_the_help_of_the_table() -> None:
    assert metrics_in(None).requests.describe()[0].documentation == series.REQUESTS.help
