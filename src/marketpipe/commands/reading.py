"""The commands that show what is in a store."""

from __future__ import annotations

from typing import Annotated

import typer

from marketpipe.commands.options import Config, Json
from marketpipe.terminal.process import open_store


def query(
    sql: Annotated[
        str,
        typer.Argument(help="One SELECT over bars, bars_5m, bars_15m, bars_30m, bars_1h, bars_4h, bars_1d, _1w, _1mo."),
    ],
    config: Config = None,
    json: Json = False,
) -> None:
    """Run an SQL query on the stored bars.

    A query can change nothing, and can read nothing outside the store.
    """
    from marketpipe.terminal.store import print_rows

    with open_store(config) as pipeline:
        print_rows(pipeline.query(sql), as_json=json)


def status(config: Config = None, json: Json = False) -> None:
    """Show what is stored, by symbol, and the latest jobs."""
    from marketpipe.terminal.store import print_status

    with open_store(config) as pipeline:
        print_status(pipeline.status(), as_json=json)


def metrics(
    config: Config = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the metrics over HTTP until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Print or serve Prometheus metrics of the store.

    An ingestion serves its own metrics while it runs, if metrics.enabled is true.
    """
    from marketpipe.terminal.store import print_metrics, serve_metrics

    with open_store(config) as pipeline:
        if serve:
            serve_metrics(pipeline)
        else:
            print_metrics(pipeline, as_json=json)
