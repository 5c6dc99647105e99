"""What leaves a store: files for other programs, answers to queries, and symbols that are dropped."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import typer
from attrs import asdict

from marketpipe.ingestion.domain.store_status import DropReport
from marketpipe.shared_kernel.domain.errors import ConfigurationError, QueryError, count_of, did_you_mean
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.compaction import CompactedMonth, CompactionReport, Condition
from marketpipe.storage.domain.exported_file import ExportReport
from marketpipe.terminal.output import err, print_json
from marketpipe.terminal.store import print_rows
from marketpipe.terminal.verbosity import is_wanted

if TYPE_CHECKING:
    import pyarrow as pa

SYMBOLS_SHOWN = 10
PRINTED, FILES_ONLY = ("table", "json", "csv"), ("parquet", "arrow")


def print_export(report: ExportReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
    elif is_wanted(ok=True, as_json=False):
        err(f"{count_of(report.rows, 'row')} written to {report.path} ({report.format}, {report.size_bytes:,} bytes)")


def is_confirmed(report: DropReport) -> bool:
    """Ask whether to drop what the report names. Raises ``ConfigurationError`` without a terminal to ask at."""
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{_dropped(report)} would be dropped; confirm with --yes")
    err(f"{_dropped(report)} will be dropped; the bars stay as revisions, for --as-of")
    return typer.confirm("Drop?", err=True)


def print_drop(report: DropReport, configured: Collection[Symbol], *, as_json: bool) -> None:
    """Print what was dropped; ``configured`` are the symbols that the next ingestion requests."""
    if as_json:
        print_json(asdict(report, recurse=False))
    elif is_wanted(ok=True, as_json=False):
        err(f"{_dropped(report)} dropped; with --as-of, 'marketpipe export' still returns the bars")
    if again := [str(symbol) for symbol in report.symbols if symbol in configured]:
        them = "it" if len(again) == 1 else "them"
        err(f"the configuration still names {', '.join(again)}: the next ingest or update requests {them} again")


def print_compaction(report: CompactionReport, *, undo: bool, as_json: bool) -> None:
    """Print how many months have another form now, and which do not, each with the reason."""
    if as_json:
        print_json({**asdict(report, recurse=False), "months": [_month(each) for each in report.months]})
        return
    for (month, condition, reason), symbols in _left_alike(report).items():
        err(f"{_names(symbols)} {month} {condition}: {reason}")
    if is_wanted(report.ok, as_json=False):
        err(_summary(report, undo=undo))
    if report.stopped:
        err("stopped before the last month: run the same command again to finish")


def _summary(report: CompactionReport, *, undo: bool) -> str:
    one, changed = sum(month.condition is Condition.UNCHANGED for month in report.months), len(report.changed)
    already = f". {count_of(one, 'month')} {'is' if one == 1 else 'are'} one file already" if one else ""
    verb, form = "would be written" if report.dry_run else "written", "files a day" if undo else "one file each"
    if not changed:
        return f"no month {'would be' if report.dry_run else 'was'} written as {form.removesuffix(' each')}{already}"
    return (
        f"{count_of(changed, 'month')} {verb} as {form}: {count_of(report.files_before, 'file')} "
        f"({report.bytes_before:,} bytes) before, {report.files_after:,} ({report.bytes_after:,} bytes) after{already}"
    )


def _left_alike(report: CompactionReport) -> dict[tuple[str, str, str], list[Symbol]]:
    """Return the symbols by month, condition and reason: the current month of all symbols is left for the same one."""
    found = dict[tuple[str, str, str], list[Symbol]]()
    for each in report.left:
        found.setdefault((str(each.month), str(each.condition), str(each.reason)), []).append(each.month.symbol)
    return found


def _month(month: CompactedMonth) -> dict[str, object]:
    return {"symbol": str(month.month.symbol), **asdict(month, recurse=False), "month": str(month.month)}


def _names(symbols: Sequence[Symbol]) -> str:
    """Return the names of symbols, of many only the first."""
    more = len(symbols) - SYMBOLS_SHOWN
    return ", ".join(map(str, symbols[:SYMBOLS_SHOWN])) + (f" and {more:,} others" if more > 0 else "")


def _dropped(report: DropReport) -> str:
    names = _names(report.symbols)
    minutes = (count_of(report.symbol_days, "symbol-day"), count_of(report.bars, "bar"))
    official = count_of(report.official_days, "official day")
    counts = minutes if not report.official_days else (*minutes, official) if report.symbol_days else (official,)
    return f"{names} ({', '.join(counts)})"


def print_answer(table: pa.Table, file_format: str | None) -> None:
    """Print the answer to a query: the first rows as a table, or all rows as JSON or CSV."""
    if file_format == "csv":
        _print_csv(table)
    else:
        print_rows(table, as_json=file_format == "json")


def check_printable(file_format: str | None, *, as_json: bool) -> None:
    """Raise ``ConfigurationError`` for a format that is not printed, or is another one than --json asks for."""
    if as_json and file_format in PRINTED and file_format != "json":
        raise ConfigurationError(f"--json and --format {file_format} contradict each other: give one of them")
    if file_format in FILES_ONLY:
        raise ConfigurationError(f"format: {file_format} is not printed; give a file with --output")
    if file_format is not None and file_format not in PRINTED:
        raise ConfigurationError(
            f"format: {file_format!r} is not allowed; {did_you_mean(file_format, [*PRINTED, *FILES_ONLY])}"
        )


def _print_csv(table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    written = pa.BufferOutputStream()
    try:
        pacsv.write_csv(table, written)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise QueryError(f"csv cannot hold the result: {error}; cast columns, or use json") from error
    typer.echo(written.getvalue().to_pybytes().decode(), nl=False)
