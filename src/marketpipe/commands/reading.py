"""The commands that show what is in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from marketpipe.commands.options import Config, End, Json, Overwrite, Start, Symbols, chosen, listed
from marketpipe.terminal.process import open_store
from marketpipe.terminal.verbosity import is_wanted


def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL", help="One SELECT over bars (minutes), bars_2m, bars_5m … bars_1d, bars_1w, bars_1mo."
        ),
    ],
    config: Config = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="table, json, csv, parquet or arrow; a table without --output."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File for all rows of the answer.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run an SQL query on the stored bars.

    Prints a table of the first rows; with --output all rows are written to a file, however many. A query can change
    nothing, and can read nothing outside the store.

    marketpipe query "SELECT symbol, max(close) FROM bars_1d GROUP BY ALL"
    marketpipe query "SELECT * FROM bars_5m WHERE symbol = 'AAPL'" --output aapl.csv
    """
    from marketpipe.terminal.exports import check_printable, print_answer, print_export

    printed = "json" if json and file_format is None else file_format
    if output is None:
        check_printable(printed, as_json=json)
    with open_store(config) as pipeline:
        if output is None:
            print_answer(pipeline.query(sql), printed)
        else:
            report = pipeline.export_query(output, sql, format=file_format, overwrite=overwrite)
            if is_wanted(ok=True, as_json=json):
                print_export(report, as_json=json)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write: .parquet, .csv, .arrow or .json.")],
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    timeframe: Annotated[
        str, typer.Option("--timeframe", metavar="TIMEFRAME", help="Such as 1m, 5m, 1h, 1d, 1w or 1mo.")
    ] = "1m",
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="MOMENT", help="The bars as they were stored at this moment, 2024-06-03T12:00:00Z."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="For 1d, 1w, 1mo: official or minutes.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="HOURS", help="regular: only bars of the regular hours.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="LIST", help="Columns, separated by commas.")
    ] = None,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="Time zone of the timestamps, such as America/New_York.")
    ] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="parquet, csv, arrow or json.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write stored bars to one file for other programs.

    Without options it is all minute bars. The file appears when it is complete.

    marketpipe export bars.parquet --symbols AAPL --start 2024-01-02
    marketpipe export days.csv --timeframe 1d --tz America/New_York
    """
    from marketpipe.terminal.exports import print_export

    with open_store(config) as pipeline:
        names = chosen(pipeline, symbols)
        report = pipeline.export(
            file,
            names,
            start,
            end,
            timeframe,
            format=file_format,
            overwrite=overwrite,
            as_of=as_of,
            source=source,
            session=session,
            columns=listed(columns),
            tz=tz,
        )
    if is_wanted(ok=True, as_json=json):
        print_export(report, as_json=json)


def status(config: Config = None, json: Json = False) -> None:
    """Show what is stored, by symbol, and the latest jobs."""
    from marketpipe.terminal.store import print_status

    with open_store(config) as pipeline:
        print_status(pipeline.status(), as_json=json, place=pipeline.config.output_path)


def metrics(
    config: Config = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the metrics over HTTP until Ctrl-C.")] = False,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="With --serve: where to listen.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="With --serve; 0 takes a free one.")
    ] = None,
    textfile: Annotated[
        Path | None,
        typer.Option("--textfile", metavar="FILE", help="Write them to this .prom file, for node_exporter."),
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="URL", help="Send them to the Pushgateway at this URL.")
    ] = None,
    json: Json = False,
) -> None:
    """Print, serve, write or push Prometheus metrics of the store.

    With --serve there are /healthz and /readyz too. An ingestion serves its own metrics while it runs, if
    metrics.enabled is true; after each run they are written to metrics.textfile and sent to metrics.pushgateway.

    marketpipe metrics --serve
    """
    from marketpipe.terminal.store import deliver_metrics, print_metrics, serve_metrics

    check_metrics_options(serve, host, port, textfile, push, as_json=json)
    with open_store(config) as pipeline:
        if serve:
            serve_metrics(pipeline, host, port)
        elif textfile or push:
            deliver_metrics(pipeline, textfile, push)
        else:
            print_metrics(pipeline, as_json=json)


def check_metrics_options(
    serve: bool, host: str | None, port: int | None, textfile: Path | None, push: str | None, *, as_json: bool
) -> None:
    """Raise ``typer.BadParameter`` for options that contradict one another, and for a place that cannot be one."""
    from marketpipe.config import MetricsConfig

    if serve and (textfile or push):
        raise typer.BadParameter("--serve goes on until Ctrl-C: give --textfile and --push to a command of their own")
    if not serve and (host is not None or port is not None):
        raise typer.BadParameter("--host and --port belong to --serve")
    if as_json and (serve or textfile or push):
        raise typer.BadParameter("--json prints the metrics: leave out --serve, --textfile and --push")
    MetricsConfig(textfile=textfile, pushgateway=push)
