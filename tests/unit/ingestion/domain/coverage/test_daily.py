"""Sessions of which only the daily bar was imported, and those outside of an import."""

from __future__ import annotations

from marketpipe.ingestion.domain.coverage.classification import NEVER_ASKED
from marketpipe.ingestion.domain.coverage.daily import (
    NOT_IMPORTED,
    NOT_STORED,
    ONLY_ITS_DAY,
    daily_coverage,
    with_days_alone,
    within_the_import,
)
from marketpipe.ingestion.domain.coverage.verdict import Finding, Verdict
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol
from tests.support.coverage_grids import grid

GRID = grid("2024-01-02", "2024-01-08")
DATES = GRID.dates
DAY = OfficialDay(1.0, 2.0, 0.5, 1.5, 1000.0)


def test_a_daily_bar_counts_as_one_bar_and_a_session_without_one_is_empty_or_missing() -> None:
    found = daily_coverage(Symbol("AAPL"), GRID, {DATES[0]: DAY, DATES[1]: None})

    assert [str(verdict) for verdict in found.verdicts] == ["complete", "empty", "missing", "missing", "missing"]
    assert list(found.columns.bars) == [1, 0, 0, 0, 0]


def test_a_session_that_is_not_final_is_pending() -> None:
    found = daily_coverage(Symbol("AAPL"), grid("2024-01-02", "2024-01-02", final=False), {})

    assert found.verdicts == [Verdict.PENDING]


def test_nothing_is_missing_outside_of_an_import() -> None:
    found = daily_coverage(Symbol("AAPL"), GRID, {DATES[2]: DAY}, (DATES[1], DATES[2]))

    assert [str(verdict) for verdict in found.verdicts] == ["unlisted", "missing", "complete", "unlisted", "unlisted"]


def test_only_what_was_never_stored_or_requested_is_outside_of_an_import() -> None:
    failed = Finding(Verdict.MISSING, "the provider failed")
    findings = [NEVER_ASKED, NOT_STORED, failed, NEVER_ASKED, NOT_STORED]

    assert within_the_import(findings, DATES, None) is findings
    assert within_the_import(findings, DATES, (DATES[3], DATES[4])) == [
        *(NOT_IMPORTED, NOT_IMPORTED, failed, NEVER_ASKED, NOT_STORED),
    ]


def test_a_session_that_has_its_daily_bar_and_no_minutes_says_so() -> None:
    complete = Finding(Verdict.COMPLETE)
    findings = [NEVER_ASKED, NEVER_ASKED, complete, NEVER_ASKED, NEVER_ASKED]

    assert with_days_alone(findings, DATES, {DATES[0]: DAY, DATES[1]: None, DATES[2]: DAY}) == [
        *(ONLY_ITS_DAY, NEVER_ASKED, complete, NEVER_ASKED, NEVER_ASKED),
    ]
