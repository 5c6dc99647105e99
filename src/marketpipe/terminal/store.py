"""What a store contains, printed: validation, aggregation, query results, status, providers, Prometheus metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict
from prometheus_client import generate_latest

from marketpipe.ingestion.domain.store_status import JobRecord, SymbolSummary
from marketpipe.pipeline import Pipeline
from marketpipe.reports import StatusReport, ValidationReport
from marketpipe.scoping import state_is_lost
from marketpipe.shared_kernel.domain.errors import QueryError, count_of
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.domain.store_survey import CopyFiles, TimeframeFreshness
from marketpipe.terminal.ingestion import made_files
from marketpipe.terminal.output import err, megabytes, out, print_json, reasons_as_json
from marketpipe.terminal.tables import print_table, text_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_SHOWN = 100
"""Rows of a query result that are printed as a table."""
OUTCOMES = ("complete", "empty", "partial", "failed", "missing")
SYMBOL_HEAD = ("symbol", "first", "last", *OUTCOMES, "bars", "official days", "rejected", "MB of days")
CONDITIONS = ("fresh", "stale", "absent")
"""Of read copies."""
FORMS = {"arrow": "Arrow", "parquet": "Parquet"}
ALPACA = "alpaca"
MAKE_COPIES = "marketpipe aggregate --timeframes 1m"
JOB_HEAD = ("job", "state", "started", "finished", "symbols", "dates", "planned", "done", "failed")
SPARE = ("empty", "partial", "failed", "missing", "rejected", "official days")


def print_validation(report: ValidationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_validation_as_json(report))
        return
    counts: Counter[tuple[str, str]] = Counter()
    for finding in report.findings:
        counts[finding.rule, str(finding.severity)] += finding.count
    if counts:
        print_table(("rule", "severity", "bars"), ((*key, count) for key, count in sorted(counts.items())))
    for day, reason in sorted(report.damaged.items()):
        err(f"damaged: {day}: {reason}")
    verdict = "valid" if report.ok else "NOT valid"
    out(f"{count_of(report.bars, 'bar')} of {count_of(report.symbol_days, 'symbol-day')}: {verdict}")


def _validation_as_json(report: ValidationReport) -> dict[str, object]:
    return {
        "valid": report.ok,
        "bars": report.bars,
        "symbol_days": report.symbol_days,
        "findings": [
            {
                "symbol": finding.symbol_day.symbol,
                "trading_date": finding.symbol_day.trading_date,
                "rule": finding.rule,
                "severity": finding.severity,
                "bars": finding.count,
            }
            for finding in report.findings
        ],
        "damaged": reasons_as_json(report.damaged, "reason"),
    }


def print_aggregation(report: AggregationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    for line in made_files(report):
        out(line)
    for failure in report.failures:
        err(f"failed: {failure}")


def print_rows(table: pa.Table, *, as_json: bool) -> None:
    """Print the result of a query: all rows as JSON, or the first ones as a table."""
    shown = table if as_json else table.slice(0, ROWS_SHOWN)
    rows = list(zip(*map(_values, shown.columns), strict=True))
    if as_json:
        print_json([dict(zip(_distinct(table.column_names), row, strict=True)) for row in rows])
        return
    fitted = print_table(table.column_names, rows)
    if fitted.left_out:
        err(f"left out, as they are empty: {', '.join(fitted.left_out)}")
    if fitted.is_records and len(rows) > 1:
        err("the columns do not fit beside one another: name fewer of them, or write all to a file with --output FILE")
    if table.num_rows > ROWS_SHOWN:
        err(f"the first {ROWS_SHOWN} of {table.num_rows:,} rows; use LIMIT, or --json or --output FILE for all of them")


def _values(column: pa.ChunkedArray) -> list[object]:
    try:
        values: list[object] = column.to_pylist()
    except (OverflowError, ValueError, OSError) as error:  # DuckDB's range of dates is wider than Python's
        raise QueryError(f"the result contains a value that cannot be shown: {error}; cast it to VARCHAR") from error
    return values


def _distinct(names: Sequence[str]) -> Sequence[str]:
    """Raise ``QueryError`` if a name repeats: a JSON object can hold only one of the two columns."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise QueryError(f"two columns are named {repeated[0]!r}; rename one of them with AS")
    return names


def print_status(report: StatusReport, *, as_json: bool, place: Path = Path()) -> None:
    """Print what the store at ``place`` has."""
    if as_json:
        symbols, jobs = ([asdict(row, recurse=False) for row in rows] for rows in (report.symbols, report.jobs))
        dataset = asdict(report.identity) if report.identity else None
        copies = report.read_copies and _copies_as_json(report.read_copies, report.copy_files)
        found = {"dataset": dataset, "session": report.session, "symbols": symbols, "jobs": jobs}
        print_json({**found, "read_copies": copies})
        return
    hours = f", session {report.session}" if report.session else ""
    out(f"dataset: {report.identity}{hours}" if report.identity else f"nothing is stored at {place.absolute()} yet")
    if report.identity and report.session is None:
        out(state_is_lost(place))
    if report.symbols:
        out()
        print_table(SYMBOL_HEAD, map(_symbol_row, report.symbols), spare=SPARE)
    if report.missing:
        out()
        days, files = count_of(report.missing, "symbol-day"), "file is" if report.missing == 1 else "files are"
        out(f"{days} missing: the recorded {files} gone, or in a month file that is damaged")
        imported = report.identity is not None and report.identity.is_imported
        again = "'marketpipe import' brings their bars again" if imported else "'marketpipe ingest' requests them again"
        out(f"'marketpipe verify' lists what is gone or damaged; {again}")
    if report.read_copies is not None:
        out()
        for line in _copies(report.read_copies, report.copy_files):
            out(line)
    for summary in report.symbols:
        if summary.error is not None:
            err(f"{summary.symbol}: the numbers are those on record: {summary.error}")
    if report.jobs:
        out()
        print_table(JOB_HEAD, map(_job_row, report.jobs), spare=SPARE)


def _copies_as_json(found: TimeframeFreshness, files: CopyFiles | None) -> dict[str, object]:
    counts = {name: getattr(found, name) for name in CONDITIONS}
    if files is None:
        return counts
    place = {"folder": files.folder, "size_bytes": files.size_bytes}
    return {**counts, "configured": files.configured, "files": dict(files.numbers), **place}


def _copies(found: TimeframeFreshness, files: CopyFiles | None) -> Iterator[str]:
    yield "read copies: " + ", ".join(f"{getattr(found, name):,} {name}" for name in CONDITIONS)
    if files is not None and files.numbers:
        kinds = " and ".join(count_of(number, f"{FORMS[form]} file") for form, number in files.numbers.items())
        yield f"  {kinds}, {megabytes(files.size_bytes)}, in {files.folder}"
    if found.stale + found.absent:
        yield f"  months without a fresh copy are read from day files until '{MAKE_COPIES}' makes it"
    if files is not None:
        yield from _differences(files)


def _differences(files: CopyFiles) -> Iterator[str]:
    """Yield what is to be known if the files that exist are not those that are configured."""
    others = {form: number for form, number in files.numbers.items() if form != files.configured}
    if not others:
        return
    if files.configured not in FORMS:
        yield f"  read_copies is none, so no ingestion refreshes them; '{MAKE_COPIES}' does, as {FORMS[files.made]}"
        return
    (form, number), wanted = next(iter(others.items())), FORMS[files.configured]
    old = f"{number:,} {FORMS[form]} {'one is' if number == 1 else 'ones are'}"
    yield f"  read_copies is {files.configured}: the {old} read until the next ingestion makes {wanted} ones,"
    yield f"  or '{MAKE_COPIES}'"


def _symbol_row(summary: SymbolSummary) -> list[object]:
    counts = [getattr(summary, outcome) for outcome in OUTCOMES]
    sums = [summary.bars, summary.official_days, summary.rejected, round(summary.size_bytes / 1e6, 2)]
    return [summary.symbol, summary.first, summary.last, *counts, *sums]


def _job_row(job: JobRecord) -> list[object]:
    dates = f"{job.first} to {job.last}"
    moments = (_moment(job.started_at), job.finished_at and _moment(job.finished_at))
    return [job.job_id, job.state, *moments, job.symbols, dates, job.planned, job.done, job.failed]


def _moment(rfc3339: str) -> str:
    """Return a moment of a job without its fraction of a second; the space is where a narrow terminal breaks it."""
    return text_of(datetime.fromisoformat(rfc3339).replace(microsecond=0))


def print_providers(sources: Mapping[str, str], configured: str | None, *, has_fast: bool, as_json: bool) -> None:
    """Print the providers by name; ``sources`` maps each name to a description of where it comes from.

    ``has_fast``: the extra that only Alpaca's pages need is installed.
    """
    rows = sorted(sources.items())
    if as_json:
        entries = [{"name": name, "source": source, "configured": name == configured} for name, source in rows]
        print_json([{**entry, **({"fast": has_fast} if entry["name"] == ALPACA else {})} for entry in entries])
        return
    for name, source in rows:
        out(f"{'*' if name == configured else ' '} {name:<12} {source}")
        if name == ALPACA:
            out(f"  {'':<12} the extra fast, for large histories, is {'installed' if has_fast else 'not installed'}")


def print_metrics(pipeline: Pipeline, *, as_json: bool) -> None:
    """Print the metrics of the store in the text format of Prometheus, or its samples as JSON."""
    registry = pipeline.metrics_registry()
    if as_json:
        samples = [sample for family in registry.collect() for sample in family.samples]
        print_json([{"name": s.name, "labels": s.labels, "value": s.value} for s in samples])
    else:
        out(generate_latest(registry).decode().rstrip(), is_prose=False)


def serve_metrics(pipeline: Pipeline, host: str | None, port: int | None) -> None:
    """Serve the metrics of the store until a signal ends the process."""
    with pipeline.serve_metrics(host, port) as server:
        err(f"serving metrics at {server.address}, and /healthz and /readyz beside it; press Ctrl-C to stop")
        while True:
            time.sleep(3600)


def deliver_metrics(pipeline: Pipeline, textfile: Path | None, url: str | None) -> None:
    """Write the metrics to a file, send them to a Pushgateway, or both."""
    if textfile is not None:
        err(f"metrics were written to {pipeline.write_metrics(textfile)}")
    if url is not None:
        err(f"metrics were sent to {pipeline.push_metrics(url)}")
