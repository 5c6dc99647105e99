"""What was written to a file for other programs, and the answer to a query on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from attrs import asdict

from marketpipe.shared_kernel.domain.errors import ConfigurationError, QueryError, did_you_mean
from marketpipe.storage.domain.exported_file import ExportReport
from marketpipe.terminal.output import count_of, err, print_json
from marketpipe.terminal.store import print_rows
from marketpipe.terminal.verbosity import is_wanted

if TYPE_CHECKING:
    import pyarrow as pa

PRINTED, FILES_ONLY = ("table", "json", "csv"), ("parquet", "arrow")


def print_export(report: ExportReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
    elif is_wanted(ok=True, as_json=False):
        err(f"{count_of(report.rows, 'row')} written to {report.path} ({report.format}, {report.size_bytes:,} bytes)")


def print_answer(table: pa.Table, file_format: str | None) -> None:
    """Print the answer to a query: the first rows as a table, or all rows as JSON or CSV."""
    if file_format == "csv":
        _print_csv(table)
    else:
        print_rows(table, as_json=file_format == "json")


def check_printable(file_format: str | None) -> None:
    """Raise ``ConfigurationError`` for a format that is not printed."""
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
