from __future__ import annotations

import json

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.ingestion_plan import PlanEstimate
from marketpipe.reports import AuditReport, IngestionReport, PlanReport
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.terminal.ingestion import print_audit, print_ingestion, print_plan
from tests.support.builders import day

DAY = day("AAPL", "2024-01-02")
ONE_OF_ALL = IngestionReport(
    1, "completed", 1, 0, 0, 1, 2.0, {DAY: SymbolDayOutcome(DAY, Outcome.COMPLETE, 1)}, {"no_jump": 1}
)


def test_one_is_singular_in_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    print_ingestion(ONE_OF_ALL, as_json=False)
    printed = capsys.readouterr().out
    assert "\n1 bar, 0 rejected, 1 request, 2.0 s" in printed
    assert "warning: 1 bar breaks the rule no_jump" in printed
    assert "faults" not in printed
    assert "waited" not in printed


def test_rejected_bars_of_dates_without_a_session_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    report = evolve(ONE_OF_ALL, rejected_without_session=2)
    print_ingestion(report, as_json=False)
    printed = capsys.readouterr().out
    assert "1 bar, 2 rejected, " in printed
    assert "2 of them are of dates on which the exchange has no session\n" in printed
    print_ingestion(report, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["rejected"], found["rejected_without_session"]) == (2, 2)


def test_retries_waits_and_faults_are_in_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    report = evolve(ONE_OF_ALL, retries=3, faults={"unavailable": 2, "rate_limited": 1}, rate_limit_seconds=42.4)
    print_ingestion(report, as_json=False)
    printed = capsys.readouterr().out
    assert "faults of the provider: 1 rate limited, 2 unavailable; 3 retries\n" in printed
    assert "waited 42 s for the rate limit\n" in printed
    print_ingestion(report, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["retries"], found["faults"]["unavailable"], found["rate_limit_seconds"]) == (3, 2, 42.4)


def test_retries_waits_and_faults_are_in_the_summary_of_an_audit(capsys: pytest.CaptureFixture[str]) -> None:
    faults = {"unavailable": 1}
    report = AuditReport({}, {DAY: "it failed"}, (), 3, 2.0, retries=1, faults=faults, rate_limit_seconds=7.0)
    print_audit(report, as_json=False)
    printed = capsys.readouterr()
    assert "failed: AAPL 2024-01-02: it failed\n" in printed.err
    assert "faults of the provider: 1 unavailable; 1 retry\nwaited 7 s for the rate limit\n" in printed.out
    print_audit(report, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["retries"], found["faults"], found["rate_limit_seconds"]) == (1, faults, 7.0)


def test_of_many_failures_the_first_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    days = {day("AAPL", f"2024-01-{date:02}"): f"it failed at {date}" for date in range(2, 31)}
    print_audit(AuditReport({}, days, (), 1, 2.0), as_json=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[20:] == ["… and 9 more symbol-days; --json lists all of them"]


def test_days_that_failed_for_one_reason_are_one_range(capsys: pytest.CaptureFixture[str]) -> None:
    names = [("AAPL", 2), ("AAPL", 3), ("AAPL", 5), ("AAPL", 8), ("MSFT", 2), ("MSFT", 3), ("MSFT", 4)]
    reasons = {day(name, f"2024-01-{date:02}"): "it failed" for name, date in names}
    reasons[day("MSFT", "2024-01-04")] = "it is too late"
    outcomes = {each: SymbolDayOutcome(each, Outcome.FAILED, error=why) for each, why in reasons.items()}
    stored = day("AAPL", "2024-01-04")
    outcomes[stored] = SymbolDayOutcome(stored, Outcome.COMPLETE, 390)
    print_ingestion(evolve(ONE_OF_ALL, outcomes=outcomes), as_json=False)
    assert capsys.readouterr().err.splitlines()[:4] == [
        "failed: AAPL 2024-01-02 to 2024-01-03 (2 sessions): it failed",
        "failed: AAPL 2024-01-05 to 2024-01-08 (2 sessions): it failed",
        "failed: MSFT 2024-01-02 to 2024-01-03 (2 sessions): it failed",
        "failed: MSFT 2024-01-04: it is too late",
    ]


def test_days_that_differ_alike_are_one_range_of_an_audit(capsys: pytest.CaptureFixture[str]) -> None:
    def compared(date: str, **counts: float) -> DayComparison:
        return DayComparison(day("AAPL", date), **counts)  # type: ignore[arg-type]

    days = [
        compared("2024-01-02", changed=300, unchanged=90, largest_move=0.01),
        compared("2024-01-03", changed=200, largest_move=0.02),
        compared("2024-01-04", unchanged=390),
        compared("2024-01-05", removed=390),
        compared("2024-01-08", removed=380),
        compared("2024-01-09", changed=390, largest_move=0.5, price_ratio=0.5, volume_ratio=2.0),
    ]
    print_audit(AuditReport({each.symbol_day: each for each in days}, {}, (), 1, 2.0), as_json=False)
    withdrawn = "the provider returns no bars any more; the 770 stored bars are kept"
    assert capsys.readouterr().out.splitlines()[:3] == [
        "AAPL 2024-01-02 to 2024-01-03 (2 sessions): 500 changed, 90 unchanged; prices changed by at most 2.00%",
        f"AAPL 2024-01-05 to 2024-01-08 (2 sessions): {withdrawn}",
        "AAPL 2024-01-09: 390 changed; prices changed by at most 50.00%; all prices by the ratio 0.5: likely a split",
    ]


def test_of_many_days_that_differ_the_first_ranges_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    symbols = [day(f"A{chr(65 + number)}", "2024-01-02") for number in range(24)]
    compared = {each: DayComparison(each, changed=1) for each in symbols}
    print_audit(AuditReport(compared, {}, (), 1, 2.0), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[19].startswith("AT 2024-01-02: 1 changed")
    assert lines[20] == "… and 4 more symbol-days; --json lists all of them"


def test_one_is_singular_in_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(PlanReport(1, 0, 0, PlanEstimate(1, 1, 1, 100, 1), None, (), 1, 1), as_json=False)
    printed = capsys.readouterr().out
    assert printed.startswith("1 symbol-day to request (")
    assert "about 1 bar in 1 request, 0.0 MB (estimated from 1 stored symbol-day)\n" in printed
    assert "1 official day of the exchange in 1 request\n" in printed
