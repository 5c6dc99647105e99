from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import asdict
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from marketpipe.ingestion.domain.ingestion_plan import PlanEstimate
from marketpipe.ingestion.domain.restatement import Restatement
from marketpipe.ingestion.domain.store_status import RecoveryReport
from marketpipe.metrics_server import MetricsServer
from marketpipe.pipeline import Pipeline
from marketpipe.reports import AuditReport, IngestionReport, PlanReport, SymbolAdjustment, is_withdrawn
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport
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


Advice = dict[str, object]


def print_audit(report: AuditReport, config: Path | None, *, as_json: bool) -> None:
    """``config`` is repeated in the commands that are recommended."""
    if as_json:
        print_json(_as_mapping(report, config))
        return
    for restatement in report.restatements:
        out(f"{restatement.comparison.symbol_day}: {_described(restatement)}")
    for adjustment in report.adjustments:
        out(f"{_whole_history(adjustment)}: {_command(adjustment, config)}")
    for day, reason in sorted(report.failures.items()):
        err(f"failed: {day}: {reason}")
    differing = len(report.restatements)
    out(f"{len(report.compared):,} symbol-days compared in {report.requests:,} requests, {differing:,} of them differ")
    if report.adopted is not None:
        print_ingestion(report.adopted, as_json=False)
        out("what they held before is kept: read it with load_ohlcv(..., as_of=...)")
    elif differing > len(report.withdrawn):
        out("nothing was changed; --adopt lets the new word replace the old, and keeps the old as a revision")


def _described(restatement: Restatement) -> str:
    found = restatement.comparison
    if is_withdrawn(found):
        return f"nothing comes any more where {found.removed:,} bars are stored; those stay"
    counts = {"added": found.added, "removed": found.removed, "changed": found.changed, "unchanged": found.unchanged}
    words = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    if found.changed:
        words += f"; prices by {found.largest_move:.2%} at most"
    if restatement.ratio is not None:
        words += f"; all by the ratio {restatement.ratio:.6g}: likely a {restatement.kind}"
    return words


def _whole_history(adjustment: SymbolAdjustment) -> str:
    kind, ratio = adjustment.restatement.kind, adjustment.restatement.ratio
    span = f"{adjustment.first} to {adjustment.last}"
    return f"{adjustment.symbol}: a {kind} adjustment by {ratio:.6g} concerns its whole history, {span}; fetch it again"


def _command(adjustment: SymbolAdjustment, config: Path | None) -> str:
    source = f" --config {config}" if config else ""
    span = f"--start {adjustment.first} --end {adjustment.last}"
    return f"marketpipe audit{source} --symbols {adjustment.symbol} {span} --adopt"


def _as_mapping(report: AuditReport, config: Path | None) -> Advice:
    return {
        "ok": report.ok,
        "compared": len(report.compared),
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "restatements": [_restatement(item) for item in report.restatements],
        "adjustments": [
            {
                "symbol": str(item.symbol),
                "kind": str(item.restatement.kind),
                "ratio": item.restatement.ratio,
                "first": str(item.first),
                "last": str(item.last),
                "command": _command(item, config),
            }
            for item in report.adjustments
        ],
        "failures": [
            {"symbol": str(day.symbol), "trading_date": str(day.trading_date), "error": reason}
            for day, reason in sorted(report.failures.items())
        ],
        "adopted": None if report.adopted is None else ingestion_as_mapping(report.adopted),
    }


def _restatement(item: Restatement) -> Advice:
    found = asdict(item.comparison, filter=lambda attribute, _: attribute.name not in ("symbol_day", "error"))
    day = item.comparison.symbol_day
    withdrawn = is_withdrawn(item.comparison)
    return {
        "symbol": str(day.symbol),
        "trading_date": str(day.trading_date),
        "kind": "withdrawn" if withdrawn else str(item.kind),
        "ratio": item.ratio,
        **found,
    }


MOST_ALIKE = 10
HEALED_BY_INGEST = frozenset({Damage.ALTERED, Damage.UNREADABLE, Damage.MISLABELLED, Damage.GONE})


def print_integrity(report: IntegrityReport, lock: DatasetLock | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_integrity(report, lock))
        return
    unrecorded = [problem for problem in report.problems if problem.damage is Damage.UNRECORDED]
    for line in [_line(problem) for problem in report.problems if problem.damage is not Damage.UNRECORDED]:
        out(line)
    _print_some([_line(problem) for problem in unrecorded], "that the state does not know")
    _print_some([f"{path}: not in the lock" for path in report.extra], "that are not in the lock, which is no failure")
    read = f"{report.files:,} files, {report.size_bytes / 1e6:,.1f} MB read"
    out(f"{read}: {'every byte is as it was' if report.ok else f'{len(report.problems):,} NOT in order'}")
    for advice in _advice(report) if lock is None else _verdict(report, lock):
        out(advice)


def _print_some(lines: Sequence[str], what: str) -> None:
    """Of a store without its state, or that has grown since, it could be all."""
    for line in lines[:MOST_ALIKE]:
        out(line)
    if len(lines) > MOST_ALIKE:
        out(f"… and {len(lines) - MOST_ALIKE:,} more {what}")


def _line(problem: IntegrityProblem) -> str:
    return f"{problem.path}: {problem.damage}: {problem.reason}"


def _advice(report: IntegrityReport) -> Iterator[str]:
    damages = {problem.damage for problem in report.problems}
    if damages & HEALED_BY_INGEST:
        yield "marketpipe ingest asks again for minute bars that are damaged or gone, and makes aggregates anew"
    if Damage.UNRECORDED in damages:
        yield "marketpipe recover records what is stored, where the state was lost"


def _verdict(report: IntegrityReport, lock: DatasetLock) -> Iterator[str]:
    said = "the very same bytes as" if report.ok else "NOT the bytes of"
    yield f"{said} dataset {lock.dataset_sha256}"


def _integrity(report: IntegrityReport, lock: DatasetLock | None) -> dict[str, object]:
    return {
        "intact": report.ok,
        "files": report.files,
        "bytes": report.size_bytes,
        "dataset_sha256": None if lock is None else lock.dataset_sha256,
        "problems": [
            {"path": problem.path, "damage": str(problem.damage), "reason": problem.reason}
            for problem in report.problems
        ],
        "extra": list(report.extra),
    }


def print_lock(lock: DatasetLock, *, as_json: bool) -> None:
    if not as_json:
        out(lock.text().removesuffix("\n"))
        return
    files = [{"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in lock.files]
    told = {name: getattr(lock.identity, name) for name in ("provider", "feed", "adjustment")}
    session = None if lock.session is None else str(lock.session)
    print_json({"sha256": lock.dataset_sha256, "dataset": told, "session": session, "files": files})


def print_recovery(report: RecoveryReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_recovery(report))
        return
    if report.set_aside:
        out(f"the former state lies in {report.set_aside}")
    for day, reason in sorted(report.damaged.items()):
        err(f"damaged, and not recorded: {day}: {reason}")
    if report.identity is None:
        out("no bars are stored here: there is nothing to recover")
        return
    out(f"dataset: {report.identity}, session {report.session}")
    out(f"{report.symbol_days:,} symbol-days recorded, {report.partial:,} of them partial: {report.bars:,} bars")
    inferred = "some bars lie outside" if str(report.session) == "extended" else "no bar lies outside"
    out(f"the session is inferred: {inferred} the regular sessions")
    out("days without bars leave no file: the next ingestion asks for them once more")


def _recovery(report: RecoveryReport) -> dict[str, object]:
    told = report.identity
    return {
        "dataset": told and {"provider": told.provider, "feed": told.feed, "adjustment": told.adjustment},
        "session": None if report.session is None else str(report.session),
        "symbol_days": report.symbol_days,
        "partial": report.partial,
        "bars": report.bars,
        "rejected": report.rejected,
        "damaged": [
            {"symbol": str(day.symbol), "trading_date": str(day.trading_date), "reason": reason}
            for day, reason in sorted(report.damaged.items())
        ],
        "set_aside": report.set_aside,
    }


class StoreCollector(Collector):
    """What the store holds, read anew at every scrape."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterable[GaugeMetricFamily]:
        status = self._pipeline.status()
        days = GaugeMetricFamily("marketpipe_store_symbol_days", "Symbol-days by outcome.", labels=["outcome"])
        for outcome in Outcome:
            days.add_metric([str(outcome)], sum(getattr(symbol, str(outcome)) for symbol in status.symbols))
        yield days
        yield _gauge("symbols", "Symbols ever asked for.", len(status.symbols))
        yield _gauge("bars", "Minute bars stored.", sum(symbol.bars for symbol in status.symbols))
        yield _gauge("rejected_bars", "Bars in quarantine.", sum(symbol.rejected for symbol in status.symbols))
        yield _gauge("bytes", "Size of the minute bars on disk.", sum(symbol.size_bytes for symbol in status.symbols))


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"marketpipe_store_{name}", text, value=value)


def _registry(pipeline: Pipeline) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StoreCollector(pipeline))
    return registry


def print_metrics(pipeline: Pipeline, *, as_json: bool) -> None:
    registry = _registry(pipeline)
    if as_json:
        samples = [sample for family in registry.collect() for sample in family.samples]
        print_json([{"name": s.name, "labels": s.labels, "value": s.value} for s in samples])
    else:
        out(generate_latest(registry).decode().rstrip())


def serve_metrics(pipeline: Pipeline) -> None:
    settings = pipeline.config.metrics
    with MetricsServer(_registry(pipeline), settings.host, settings.port) as server:
        err(f"metrics at {server.address}; Ctrl-C ends")
        while True:
            time.sleep(3600)
