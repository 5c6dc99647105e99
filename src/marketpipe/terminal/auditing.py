from __future__ import annotations

from pathlib import Path

from attrs import asdict

from marketpipe.audit_report import AuditReport, SymbolAdjustment, is_withdrawn
from marketpipe.ingestion.domain.restatement import Restatement
from marketpipe.terminal.ingestion import ingestion_as_mapping, print_ingestion
from marketpipe.terminal.output import err, out, print_json

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
