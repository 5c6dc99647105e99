from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import asdict

from marketpipe.ingestion.domain.plan_estimate import PlanEstimate
from marketpipe.pipeline import Pipeline
from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.terminal.output import err, out, print_json
from marketpipe.terminal.progress import ProgressBar, ProgressLines

FAILURES_SHOWN = 20


@contextmanager
def progress_of(pipeline: Pipeline) -> Iterator[None]:
    """A live bar on a terminal, plain lines anywhere else; both on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    with ProgressBar(console) if console.is_terminal else ProgressLines(err) as progress:
        progress.follow(pipeline)
        yield


def print_ingestion(report: IngestionReport, *, as_json: bool) -> None:
    if as_json:
        print_json(ingestion_as_mapping(report))
        return
    rate = f", {report.bars / report.seconds:,.0f} bars/s" if report.seconds and report.bars else ""
    out(f"job {report.job_id} {report.state}. Symbol-days: {_counts(report)}")
    out(
        f"{report.bars:,} bars, {report.rejected:,} rejected, "
        f"{report.requests:,} requests, {report.seconds:.1f} s{rate}"
    )
    if report.estimate is not None and report.planned:
        out(f"planned were {estimated(report.estimate)}")
    for rule, count in sorted(report.warnings.items()):
        out(f"warning: {count:,} bars do not satisfy {rule}; they are stored all the same")
    if report.rejected:
        out("rejected bars lie in quarantine, each with its rule and reason")
    out(f"aggregates: {report.aggregates.written:,} files written, {report.aggregates.unchanged:,} unchanged")
    for failure in report.aggregates.failures:
        err(f"failed: {failure}")
    _print_failures(report)


def _counts(report: IngestionReport) -> str:
    parts = [f"{report.count(outcome):,} {outcome}" for outcome in Outcome if report.count(outcome)]
    parts.append(f"{report.already_settled:,} known before")
    if report.not_begun:
        parts.append(f"{report.not_begun:,} not begun yet")
    if not report.planned and not report.already_settled and not report.not_begun:
        parts.append("no trading date lies in that range")
    return ", ".join(parts) + (f"; {report.left:,} not asked for" if report.left else "")


def estimated(estimate: PlanEstimate) -> str:
    basis = f"going by {estimate.known_days:,} stored symbol-days" if estimate.known_days else "a guess"
    size = f"{estimate.size_bytes / 1e6:,.1f} MB"
    return f"about {estimate.bars:,} bars in {estimate.requests:,} requests, {size} ({basis})"


def _print_failures(report: IngestionReport) -> None:
    failures = sorted(report.failures.items())
    for day, reason in failures[:FAILURES_SHOWN]:
        err(f"failed: {day}: {reason}")
    if len(failures) > FAILURES_SHOWN:
        err(f"… and {len(failures) - FAILURES_SHOWN:,} more; --json lists them all")
    if failures:
        err("run the same command again: only what failed is asked for")


def ingestion_as_mapping(report: IngestionReport) -> dict[str, object]:
    return {
        "job_id": report.job_id,
        "state": report.state,
        "planned": report.planned,
        "already_settled": report.already_settled,
        "not_begun": report.not_begun,
        **{str(outcome): report.count(outcome) for outcome in Outcome},
        "bars": report.bars,
        "rejected": report.rejected,
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "estimate": None if report.estimate is None else asdict(report.estimate),
        "warnings": dict(report.warnings),
        "aggregates": asdict(report.aggregates),
        "failures": [
            {"symbol": str(day.symbol), "trading_date": str(day.trading_date), "error": reason}
            for day, reason in sorted(report.failures.items())
        ],
    }
