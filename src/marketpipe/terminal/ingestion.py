"""Plans, ingestions and audits, printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import asdict

from marketpipe.ingestion.domain.ingestion_plan import PlanEstimate
from marketpipe.ingestion.domain.official_days import OfficialDaysReport
from marketpipe.ingestion.domain.restatement import Restatement, SymbolAdjustment
from marketpipe.reports import AuditReport, IngestionReport, PlanReport, doubt_of_names
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay, range_as_text, ranges_alike
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.terminal.output import err, megabytes, out, print_json, reasons_as_json
from marketpipe.terminal.pasted_commands import as_given
from marketpipe.terminal.verbosity import is_wanted

RANGES_SHOWN = 20


def print_plan(report: PlanReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    others = f"{report.already_settled:,} already settled, {report.not_begun:,} not begun yet"
    out(f"{count_of(report.planned, 'symbol-day')} to request ({others})")
    if report.planned:
        known = report.estimate.known_days
        basis = (
            f"estimated from {count_of(known, 'stored symbol-day')}" if known else "a guess: nothing is on record yet"
        )
        out(f"{_estimated(report.estimate)} ({basis})")
    if report.official_days:
        days = count_of(report.official_days, "official day")
        out(f"{days} of the exchange in {count_of(report.official_requests, 'request')}")
    if report.minutes is not None and (report.planned or report.official_days):
        minutes = "less than 0.1" if report.minutes < 0.1 else f"at least {report.minutes:,.1f}"
        out(f"at the configured rate limit this takes {minutes} minutes")
    for notice in report.notices:
        out(f"note: {notice}")


def _estimated(estimate: PlanEstimate) -> str:
    bars, requests = count_of(estimate.bars, "bar"), count_of(estimate.requests, "request")
    return f"about {bars} in {requests}, {megabytes(estimate.size_bytes)}"


def print_run(report: IngestionReport, *, as_json: bool) -> None:
    """Print an ingestion as far as it is wanted, and always a warning of symbols that may be misspelt."""
    if is_wanted(report.ok, as_json):
        print_ingestion(report, as_json=as_json)
    if report.without_bars:
        err(f"warning: {doubt_of_names(report.without_bars)}")


def print_ingestion(report: IngestionReport, *, as_json: bool) -> None:
    if as_json:
        print_json(ingestion_as_json(report))
        return
    rate = f", {report.bars / report.seconds:,.0f} bars/s" if report.seconds and report.bars else ""
    out(f"job {report.job_id} {report.state}. Symbol-days: {_counts(report)}")
    out(
        f"{count_of(report.bars, 'bar')}, {report.rejected:,} rejected, "
        f"{count_of(report.requests, 'request')}, {report.seconds:.1f} s{rate}"
    )
    for line in _trouble(report):
        out(line)
    if report.official.requested:
        out(_official(report.official))
    if report.estimate is not None and report.planned:
        out(f"the plan expected {_estimated(report.estimate)}")
    for adjustment in report.readjusted:
        out(_renewed_history(adjustment))
    for rule, count in sorted(report.warnings.items()):
        out(f"warning: {count_of(count, 'bar breaks', 'bars break')} the rule {rule}; stored nevertheless")
    for line in (*rejections(report), *made_files(report.aggregates)):
        out(line)
    for notice in report.notices:
        out(f"note: {notice}")
    print_failures(report)


def rejections(report: IngestionReport) -> Iterator[str]:
    """Yield where rejected bars are, and how many of them are of dates that have no session."""
    if report.rejected:
        yield "the rejected bars are in quarantine, each with its rule and reason"
    if count := report.rejected_without_session:
        yield f"{count:,} of them {'is' if count == 1 else 'are'} of dates on which the exchange has no session"


def made_files(report: AggregationReport) -> Iterator[str]:
    """Yield how many aggregates were written, and how many read copies if there are any."""
    copies, unchanged = report.copies_written, report.copies_unchanged
    aggregates = report.written - copies, report.unchanged - unchanged
    if any(aggregates) or not copies + unchanged:
        yield f"aggregates: {count_of(aggregates[0], 'file')} written, {aggregates[1]:,} unchanged"
    if copies + unchanged:
        yield f"read copies: {count_of(copies, 'file')} written, {unchanged:,} unchanged"


def _trouble(report: IngestionReport | AuditReport) -> Iterator[str]:
    """Yield what went wrong between this machine and the provider, and was overcome or not."""
    if report.faults or report.retries:
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in sorted(report.faults.items()))
        retries = count_of(report.retries, "retry", "retries")
        yield f"faults of the provider: {kinds or 'none'}; {retries}"
    if report.rate_limit_seconds >= 1:
        yield f"waited {report.rate_limit_seconds:,.0f} s for the rate limit"


def _official(official: OfficialDaysReport) -> str:
    parts = [f"{count_of(official.answered, 'official day')} of the exchange"]
    if official.changed:
        parts.append(f"{len(official.changed):,} changed, so the minutes were requested again")
    if official.left:
        parts.append(f"{official.left:,} not requested")
    return ", ".join(parts)


def _counts(report: IngestionReport) -> str:
    parts = [f"{report.count(outcome):,} {outcome}" for outcome in Outcome if report.count(outcome)]
    parts.append(f"{report.already_settled:,} already settled")
    if report.not_begun:
        parts.append(f"{report.not_begun:,} not begun yet")
    if not report.planned and not report.already_settled and not report.not_begun:
        parts.append("the range contains no trading date")
    return ", ".join(parts) + (f"; {report.left:,} not requested" if report.left else "")


def print_failures(
    report: IngestionReport, advice: str = "run the same command again to retry only what failed"
) -> None:
    """Print to standard error what failed, and what to do."""
    for failure in report.aggregates.failures:
        err(f"failed: {failure}")
    _print_first(report.failures, report.outcomes)
    _print_first(report.official.failures, report.official.failures, "the official day of ")
    if report.failures or report.official.failures:
        err(advice)


def _print_first(failures: Mapping[SymbolDay, str], requested: Iterable[SymbolDay], of: str = "") -> None:
    """Print failures in ranges: days of a symbol that failed for one reason, and no ``requested`` day between them."""
    ranges = ranges_alike(requested, failures.get)
    for days, reason in ranges[:RANGES_SHOWN]:
        err(f"failed: {of}{range_as_text(days)}: {reason}")
    if left := _more(ranges):
        err(left)


def _more(ranges: Sequence[tuple[list[SymbolDay], object]]) -> str:
    """Return the line in the place of the ranges that are not printed; "" if there are none."""
    left = sum(len(days) for days, _ in ranges[RANGES_SHOWN:])
    return f"… and {count_of(left, 'more symbol-day')}; --json lists all of them" if left else ""


def ingestion_as_json(report: IngestionReport) -> dict[str, object]:
    return {
        "job_id": report.job_id,
        "state": report.state,
        "planned": report.planned,
        "already_settled": report.already_settled,
        "not_begun": report.not_begun,
        **{str(outcome): report.count(outcome) for outcome in Outcome},
        "bars": report.bars,
        "rejected": report.rejected,
        "rejected_without_session": report.rejected_without_session,
        "requests": report.requests,
        **_trouble_as_json(report),
        "estimate": None if report.estimate is None else asdict(report.estimate),
        "warnings": dict(report.warnings),
        "notices": list(report.notices),
        "symbols_without_bars": list(map(str, report.without_bars)),
        "aggregates": asdict(report.aggregates),
        "failures": reasons_as_json(report.failures, "error"),
        "readjusted": [_readjustment_as_json(adjustment) for adjustment in report.readjusted],
        "official_days": {
            "requested": report.official.requested,
            "answered": report.official.answered,
            "left": report.official.left,
            "changed": [
                {"symbol": str(day.symbol), "trading_date": str(day.trading_date)} for day in report.official.changed
            ],
            "failures": reasons_as_json(report.official.failures, "error"),
        },
    }


def _trouble_as_json(report: IngestionReport | AuditReport) -> dict[str, object]:
    return {
        "seconds": round(report.seconds, 3),
        "retries": report.retries,
        "faults": dict(report.faults),
        "rate_limit_seconds": round(report.rate_limit_seconds, 3),
    }


def _readjustment_as_json(adjustment: SymbolAdjustment) -> dict[str, object]:
    found = adjustment.restatement
    span = {"first": str(adjustment.first), "last": str(adjustment.last)}
    return {"symbol": str(adjustment.symbol), "kind": str(found.kind), "ratio": found.ratio, **span}


def print_audit(report: AuditReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_audit_as_json(report))
        return
    _print_restatements(report)
    for adjustment in report.adjustments:
        out(f"{_adjusted_history(adjustment)}:")
        out(f"  {_adopt_command(adjustment)}", is_prose=False)
    _print_first(report.failures, {*report.failures, *report.compared})
    differing = len(report.restatements)
    requests, differ = count_of(report.requests, "request"), "differs" if differing == 1 else "differ"
    out(f"{count_of(len(report.compared), 'symbol-day')} compared in {requests}, {differing:,} of them {differ}")
    for line in _trouble(report):
        out(line)
    if report.adopted is not None:
        print_ingestion(report.adopted, as_json=False)
        out("the former bars of these days are kept: read them with load_ohlcv(..., as_of=...)")
    elif differing > len(report.withdrawn):
        out("nothing was changed; --adopt replaces the bars that differ and keeps the old ones as a revision")


def _print_restatements(report: AuditReport) -> None:
    """Print the days that differ in ranges: compared days of a symbol that follow each other and differ alike."""
    found = {restatement.comparison.symbol_day: restatement for restatement in report.restatements}
    ranges = ranges_alike(report.compared, lambda day: _alike(found[day]) if day in found else None)
    for days, _ in ranges[:RANGES_SHOWN]:
        out(f"{range_as_text(days)}: {_differences([found[day] for day in days])}")
    if left := _more(ranges):
        out(left)


def _alike(restatement: Restatement) -> tuple[object, ...]:
    return restatement.is_withdrawn, restatement.kind, _ratio(restatement)


def _ratio(restatement: Restatement) -> str:
    return "" if restatement.ratio is None else f"{restatement.ratio:.6g}"


def _differences(alike: Sequence[Restatement]) -> str:
    compared, first = [restatement.comparison for restatement in alike], alike[0]
    names = ("added", "removed", "changed", "unchanged")
    counts = {name: sum(getattr(day, name) for day in compared) for name in names}
    if first.is_withdrawn:
        return f"the provider returns no bars any more; the {counts['removed']:,} stored bars are kept"
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    if counts["changed"]:
        text += f"; prices changed by at most {max(day.largest_move for day in compared):.2%}"
    if first.ratio is not None:
        text += f"; all prices by the ratio {_ratio(first)}: likely a {first.kind}"
    return text


def _renewed_history(adjustment: SymbolAdjustment) -> str:
    found, span = adjustment.restatement, f"{adjustment.first} to {adjustment.last}"
    return (
        f"{adjustment.symbol}: the provider has re-adjusted its prices by the ratio {found.ratio:.6g}, likely for a "
        f"{found.kind}: the whole history, {span}, was requested again. The former bars are kept as revisions"
    )


def _adjusted_history(adjustment: SymbolAdjustment) -> str:
    kind, ratio = adjustment.restatement.kind, adjustment.restatement.ratio
    span = f"{adjustment.first} to {adjustment.last}"
    return f"{adjustment.symbol}: a {kind} adjustment by {ratio:.6g} affects its whole history, {span}; replace it with"


def _adopt_command(adjustment: SymbolAdjustment) -> str:
    span = f"--start {adjustment.first} --end {adjustment.last}"
    return as_given(f"marketpipe audit --symbols {adjustment.symbol} {span} --adopt")


def _audit_as_json(report: AuditReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "compared": len(report.compared),
        "requests": report.requests,
        **_trouble_as_json(report),
        "restatements": [_restatement_as_json(restatement) for restatement in report.restatements],
        "adjustments": [
            {
                "symbol": str(adjustment.symbol),
                "kind": str(adjustment.restatement.kind),
                "ratio": adjustment.restatement.ratio,
                "first": str(adjustment.first),
                "last": str(adjustment.last),
                "command": _adopt_command(adjustment),
            }
            for adjustment in report.adjustments
        ],
        "failures": reasons_as_json(report.failures, "error"),
        "adopted": None if report.adopted is None else ingestion_as_json(report.adopted),
    }


def _restatement_as_json(restatement: Restatement) -> dict[str, object]:
    compared = restatement.comparison
    return {
        "symbol": str(compared.symbol_day.symbol),
        "trading_date": str(compared.symbol_day.trading_date),
        "kind": "withdrawn" if restatement.is_withdrawn else str(restatement.kind),
        "ratio": restatement.ratio,
        **asdict(compared, filter=lambda attribute, _: attribute.name not in ("symbol_day", "error")),
    }
