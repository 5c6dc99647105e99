from __future__ import annotations

import pytest

from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import (
    STRAY,
    Evidence,
    Finding,
    Gap,
    Suspicion,
    SymbolCoverage,
    Verdict,
    gaps_in,
    suspect,
)
from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.coverage_grids import grid, traded

FIRST, LAST = TradingDate.parse("2024-01-05"), TradingDate.parse("2024-01-08")


@pytest.mark.parametrize(
    ("last", "sessions", "finding", "text"),
    [
        (FIRST, 1, Finding(Verdict.MISSING, "never requested"), "AAPL 2024-01-05 missing: never requested"),
        (LAST, 2, Finding(Verdict.MISSING), "AAPL 2024-01-05 to 2024-01-08 (2 sessions) missing"),
        (FIRST, 0, STRAY, f"AAPL 2024-01-05 suspect ({STRAY.suspicion}): {STRAY.detail}"),
    ],
)
def test_a_gap_is_a_sentence(last: TradingDate, sessions: int, finding: Finding, text: str) -> None:
    assert str(Gap(Symbol("AAPL"), FIRST, last, sessions, finding)) == text


AAPL, GRID = Symbol("AAPL"), grid("2024-01-02", "2024-01-10")
HOLES, SPLIT = suspect(Suspicion.HOLES, "a hole"), Finding(Verdict.COMPLETE, "likely a split")
FINDINGS = [
    *(Finding(Verdict.COMPLETE, evidence=Evidence.MARKET), SPLIT, HOLES, HOLES, Finding(Verdict.SHORT, "a hole")),
    *(Finding(Verdict.MISSING, "its file is gone"), Finding(Verdict.PENDING)),
]
STRAY_DATE = TradingDate.parse("2024-01-07")


def coverage() -> SymbolCoverage:
    records = [*[traded([5, 7], rejected=1)] * 6, None]
    days = SymbolDays(AAPL, records, {GRID.dates[5]: VersionCondition.GONE})
    return SymbolCoverage.of(days, GRID, FINDINGS, [STRAY_DATE])


def test_which_verdicts_are_gaps_and_which_disprove_that_a_store_is_complete() -> None:
    gaps = {Verdict.MISSING, Verdict.PARTIAL, Verdict.SUSPECT, Verdict.SHORT}
    assert {verdict for verdict in Verdict if verdict.is_gap} == gaps
    assert {verdict for verdict in Verdict if verdict.disproves} == {Verdict.MISSING, Verdict.SUSPECT}


def test_equal_findings_in_a_row_are_one_gap_and_a_session_without_one_ends_it() -> None:
    dates = GRID.dates
    found = gaps_in(AAPL, dates, dict.fromkeys((dates[0], dates[1], dates[3]), HOLES))
    assert found == [Gap(AAPL, dates[0], dates[1], 2, HOLES), Gap(AAPL, dates[3], dates[3], 1, HOLES)]


def test_coverage_counts_stored_bars_rejected_ones_and_verdicts_and_a_lost_file_has_no_bars() -> None:
    found = coverage()
    assert (found.bars, found.rejected) == (10, 6)
    assert found.verdicts == [finding.verdict for finding in FINDINGS]
    assert [found.count(verdict) for verdict in (Verdict.COMPLETE, Verdict.SUSPECT, Verdict.MISSING)] == [2, 3, 1]
    assert found.suspicions() == {Suspicion.HOLES: 2, Suspicion.UNRECORDED: 1}
    assert list(found.columns.bars) == [2, 2, 2, 2, 2, 0, 0]
    assert list(found.columns.minutes) == [335, 337] * 5 + [-1, -1] * 2


def test_coverage_has_each_session_with_its_first_and_last_bar() -> None:
    days = list(coverage().days())
    assert [(day.symbol_day.trading_date, day.finding) for day in days] == list(zip(GRID.dates, FINDINGS, strict=True))
    assert (str(days[0].first), str(days[0].last)) == ("2024-01-02T14:35:00Z", "2024-01-02T14:37:00Z")
    assert (days[-1].first, days[-1].last, days[-1].bars) == (None, None, 0)
    assert (days[0].verdict, days[0].evidence) == (Verdict.COMPLETE, Evidence.MARKET)


def test_coverage_joins_sessions_with_one_verdict_and_lists_gaps_and_notes() -> None:
    dates, found = GRID.dates, coverage()
    assert [run.sessions for run in found.runs()] == [1, 1, 2, 1, 1, 1]
    assert [(gap.first, gap.sessions) for gap in found.gaps()] == [
        *((dates[2], 2), (dates[4], 1), (dates[5], 1), (STRAY_DATE, 0)),
    ]
    assert found.notes() == [Gap(AAPL, dates[1], dates[1], 1, SPLIT)]
