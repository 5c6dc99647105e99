from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import typer
from attrs import asdict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marketpipe.reports import AggregationReport, StatusReport, ValidationReport
from marketpipe.shared_kernel.domain.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN = str.maketrans({"█": "#", "▒": "o", "○": "~", "·": ".", "…": "..."})


def out(line: str = "") -> None:
    typer.echo(line)


def err(line: str) -> None:
    typer.echo(line, err=True)


def drawable(text: str) -> str:
    """With plain signs where standard output knows no others."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return text.translate(PLAIN)
    return text


def print_json(value: object) -> None:
    """What JSON has no word for: NaN and the infinities become null, bytes hexadecimal text, moments RFC 3339."""
    out(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: object) -> object:
    match value:
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)


ROWS_SHOWN = 100
WIDEST = 10_000


def print_validation(report: ValidationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_validation(report))
        return
    counts: Counter[tuple[str, str]] = Counter()
    for finding in report.findings:
        counts[finding.rule, str(finding.severity)] += finding.count
    if counts:
        print_table(("rule", "severity", "bars"), ((*key, f"{count:,}") for key, count in sorted(counts.items())))
    for day, reason in sorted(report.damaged.items()):
        err(f"damaged: {day}: {reason}")
    verdict = "valid" if report.ok else "NOT valid"
    out(f"{report.bars:,} bars of {report.symbol_days:,} symbol-days: {verdict}")


def _validation(report: ValidationReport) -> dict[str, object]:
    return {
        "valid": report.ok,
        "bars": report.bars,
        "symbol_days": report.symbol_days,
        "findings": [
            {
                "symbol": str(finding.symbol_day.symbol),
                "trading_date": str(finding.symbol_day.trading_date),
                "rule": finding.rule,
                "severity": str(finding.severity),
                "bars": finding.count,
            }
            for finding in report.findings
        ],
        "damaged": [
            {"symbol": str(day.symbol), "trading_date": str(day.trading_date), "reason": reason}
            for day, reason in sorted(report.damaged.items())
        ],
    }


def print_aggregation(report: AggregationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    out(f"{report.written:,} aggregate files written, {report.unchanged:,} unchanged")
    for failure in report.failures:
        err(f"failed: {failure}")


def print_rows(table: pa.Table, *, as_json: bool) -> None:
    shown = table if as_json else table.slice(0, ROWS_SHOWN)
    rows = list(zip(*map(_values, shown.columns), strict=True))
    if as_json:
        print_json([dict(zip(_distinct(table.column_names), row, strict=True)) for row in rows])
        return
    print_table(table.column_names, (map(_cell, row) for row in rows))
    if table.num_rows > ROWS_SHOWN:
        err(f"the first {ROWS_SHOWN} of {table.num_rows:,} rows; use LIMIT, or --json for all")


def _values(column: pa.ChunkedArray) -> list[object]:
    try:
        values: list[object] = column.to_pylist()
    except (OverflowError, ValueError, OSError) as error:  # DuckDB's dates reach further than Python's
        raise QueryError(f"the answer holds a value that cannot be shown: {error}; cast it to VARCHAR") from error
    return values


def _distinct(names: Sequence[str]) -> Sequence[str]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise QueryError(f"two columns are called {repeated[0]!r}; name one of them with AS")
    return names


def print_status(report: StatusReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_status(report))
        return
    hours = f", session {report.session}" if report.session else ""
    out(f"dataset: {report.identity}{hours}" if report.identity else "nothing is stored here yet")
    if report.symbols:
        head = ("symbol", "first", "last", "complete", "empty", "partial", "failed", "bars", "rejected", "MB")
        print_table(head, (_status_row(asdict(summary, recurse=False)) for summary in report.symbols))
    if report.jobs:
        head = ("job", "state", "started", "finished", "symbols", "first", "last", "planned", "done", "failed")
        print_table(head, (map(_cell, asdict(job, recurse=False).values()) for job in report.jobs))


def _status(report: StatusReport) -> dict[str, object]:
    return {
        "dataset": asdict(report.identity) if report.identity else None,
        "session": None if report.session is None else str(report.session),
        "symbols": [asdict(summary, recurse=False) for summary in report.symbols],
        "jobs": [asdict(job, recurse=False) for job in report.jobs],
    }


def _status_row(summary: Mapping[str, object]) -> list[str]:
    *cells, size = summary.values()
    return [*map(_cell, cells), f"{int(str(size)) / 1e6:,.2f}"]


def print_providers(known: Mapping[str, str], chosen: str | None, *, as_json: bool) -> None:
    if as_json:
        rows = [{"name": n, "source": s, "configured": n == chosen} for n, s in sorted(known.items())]
        print_json(rows)
        return
    for name, source in sorted(known.items()):
        out(f"{'*' if name == chosen else ' '} {name:<12} {source}")


def print_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Cut to the width of a terminal; whole where the output goes to a file or another program."""
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=WIDEST)
    table = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
