"""The commands that look at a store, and ask no provider."""

from __future__ import annotations

from typing import Annotated

import typer

from marketpipe.commands.options import Config, End, EndOrLatest, Json, Start, Symbols, listed
from marketpipe.commands.process import leave, settings_of, store_of


def coverage(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: EndOrLatest = None, json: Json = False
) -> None:
    """Say of every symbol and session whether the store has it.

    A summary, a map, and every gap with its reason. Exit code 1 where anything is missing or suspect.
    """
    from marketpipe.terminal.coverage import print_coverage

    with store_of(config) as pipeline:
        report = pipeline.coverage(listed(symbols), start, end)
    print_coverage(report, as_json=json)
    leave(report.ok)


def validate(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Judge the stored bars by the rules.

    Exit code 1 where an error rule is broken or a file is damaged. Changes nothing.
    """
    from marketpipe.terminal.output import print_validation

    with store_of(config) as pipeline:
        report = pipeline.validate(listed(symbols), start, end)
    print_validation(report, as_json=json)
    leave(report.ok)


def aggregate(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    timeframes: Annotated[str | None, typer.Option(help="Such as 5m,1h,1d; without it, the configured ones.")] = None,
    json: Json = False,
) -> None:
    """Bring the aggregates up to date."""
    from marketpipe.terminal.output import print_aggregation

    with store_of(config) as pipeline:
        report = pipeline.aggregate(listed(symbols), start, end, listed(timeframes))
    print_aggregation(report, as_json=json)
    leave(report.ok)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over bars, bars_5m, bars_15m, bars_1h, bars_1d …")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Ask the store a question in SQL.

    Nothing can be changed, and nothing outside the store read.
    """
    from marketpipe.terminal.output import print_rows

    with store_of(config) as pipeline:
        print_rows(pipeline.query(sql), as_json=json)


def status(config: Config = None, json: Json = False) -> None:
    """Show what the store has, and the latest jobs."""
    from marketpipe.terminal.output import print_status

    with store_of(config) as pipeline:
        print_status(pipeline.status(), as_json=json)


def metrics(
    config: Config = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve them over HTTP until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Print or serve what the store holds.

    As Prometheus metrics. An ingestion serves its own while it runs, where metrics.enabled is true.
    """
    from marketpipe.terminal.reports import print_metrics, serve_metrics

    with store_of(config) as pipeline:
        if serve:
            serve_metrics(pipeline)
        else:
            print_metrics(pipeline, as_json=json)


def providers(config: Config = None, json: Json = False) -> None:
    """List the market data providers.

    With --config, the configured one is marked.
    """
    from marketpipe.provider_registry import known_providers
    from marketpipe.terminal.output import print_providers

    chosen = getattr(settings_of(config), "provider", None)
    print_providers(known_providers(), chosen, as_json=json)
