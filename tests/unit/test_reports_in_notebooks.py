from __future__ import annotations

from xml.etree import ElementTree

from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding, SymbolCoverage, Verdict
from marketpipe.ingestion.domain.ingestion_plan import PlanEstimate
from marketpipe.integration.domain.table_import import ImportPreview
from marketpipe.reports import (
    CoverageReport,
    HealthReason,
    HealthReport,
    ImportReport,
    IngestionReport,
    PlanReport,
    StatusReport,
    ValidationReport,
)
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.storage.domain.store_survey import TimeframeFreshness
from tests.support.coverage_grids import grid

AAPL, DAY = Symbol("AAPL"), TradingDate.parse("2024-01-02")


def text_of(report: object) -> str:
    html = report._repr_html_().replace("&nbsp;", " ").replace("&ensp;", " ")  # type: ignore[attr-defined]
    return " ".join(ElementTree.fromstring(f"<div>{html}</div>").itertext())


def test_a_plan_shows_its_cost_and_its_notices() -> None:
    plan = PlanReport(12, 3, 1, PlanEstimate(12, 4680, 2, 1_500_000, 0), 0.5, ("a part of the market",), 12, 1)

    shown = text_of(plan)

    for expected in (
        "symbol-days to request 12",
        "requests (estimated) 3",
        "MB (estimated) 1.50",
        "a part of the market",
    ):
        assert expected in shown


def test_an_ingestion_shows_what_failed_and_why() -> None:
    outcomes = {SymbolDay(AAPL, DAY): SymbolDayOutcome(SymbolDay(AAPL, DAY), Outcome.FAILED, error="HTTP 500 <br>")}
    report = IngestionReport(7, "failed", 1, 0, 0, 3, 1.5, outcomes, {"no_jump": 2})

    shown = text_of(report)

    assert "Ingestion 7: failed" in shown
    assert "AAPL 2024-01-02: HTTP 500 <br>" in shown
    assert "against the rule no_jump: 2 stored bars" in shown


def test_an_import_shows_how_the_table_was_understood_and_its_questions() -> None:
    preview = ImportPreview(
        "import:mine",
        "raw",
        Timeframe.MINUTE_1,
        {"open": "o"},
        bars=390,
        left_out={"closed days": 2},
        questions=("which?",),
    )

    shown = text_of(ImportReport(preview, IngestionReport(7, "completed", 1, 0, 0, 0, 1.5, {})))

    for expected in ("Import into import:mine", "open=o", "2 bars of closed days", "question: which?", "Ingestion 7"):
        assert expected in shown


def test_coverage_shows_its_conclusion_and_its_gaps() -> None:
    days = grid("2024-01-02", "2024-01-04")
    findings = [Finding(Verdict.COMPLETE), Finding(Verdict.MISSING, "never requested"), Finding(Verdict.COMPLETE)]
    covered = SymbolCoverage.of(SymbolDays(AAPL, [None] * 3, {}), days, findings)

    shown = text_of(CoverageReport(days.dates[0], days.dates[-1], SessionKind.EXTENDED, (covered,)))

    assert "NOT complete: 2 complete, 1 missing" in shown
    assert "AAPL 2024-01-03 missing: never requested" in shown


def test_validation_and_an_empty_store_say_what_they_are() -> None:
    assert "NOT valid" in text_of(ValidationReport(390, 1, (), {SymbolDay(AAPL, DAY): "cut short"}))
    assert "nothing is stored here yet" in text_of(StatusReport(None, (), ()))
    copies = TimeframeFreshness(Timeframe.MINUTE_1, 1200, 3, 0)
    assert "1,200 fresh, 3 stale, 0 absent" in text_of(StatusReport(None, (), (), read_copies=copies))


def test_the_health_of_a_store_shows_why_it_is_not_ready() -> None:
    reason = HealthReason("fresh", "3 sessions lag behind; run 'marketpipe update' & see", 3, 1)
    shown = text_of(HealthReport((reason,), Timestamp.parse("2024-01-09T06:00:00Z"), 3, 0))

    for expected in ("NOT ready at 2024-01-09T06:00:00Z", "lag in sessions 3", "run 'marketpipe update' & see"):
        assert expected in shown
