from __future__ import annotations

from attrs import asdict

from marketpipe.reports import PlanReport
from marketpipe.terminal.ingestion import estimated
from marketpipe.terminal.output import out, print_json


def print_plan(report: PlanReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    known = f"{report.already_settled:,} known, {report.not_begun:,} not begun yet"
    out(f"{report.planned:,} symbol-days to ask for ({known})")
    if report.planned:
        out(estimated(report.estimate))
        if report.minutes is not None:
            minutes = "less than 0.1" if report.minutes < 0.1 else f"{report.minutes:,.1f}"
            out(f"{minutes} minutes of the configured rate limit")
