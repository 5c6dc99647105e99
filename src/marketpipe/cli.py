"""The command line: parse, call the library, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from marketpipe.config import StoreConfig
    from marketpipe.pipeline import Pipeline

app = typer.Typer(
    name="marketpipe",
    help="Keeps a local store of OHLCV bars true: plans, ingests, validates, stores, aggregates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Config = Annotated[Path | None, typer.Option("--config", "-c", help="The YAML file with the configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Symbols = Annotated[str | None, typer.Option("--symbols", help="Symbols, separated by commas.")]
Start = Annotated[str | None, typer.Option("--start", help="First trading date, YYYY-MM-DD.")]
End = Annotated[str | None, typer.Option("--end", help="Last trading date, YYYY-MM-DD, inclusive.")]

HOW_TO_GO_ON = ". What is checkpointed stays; run the same command again to go on from there"
COMPLETE, SOMETHING_FAILED, WRONG_USAGE = 0, 1, 2


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"marketpipe {version('marketpipe')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """``--debug`` is read by ``main``, which has to know it when an error comes up."""


@app.command()
def ingest(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    workers: Annotated[int | None, typer.Option(help="Batches in flight at once.")] = None,
    provider: Annotated[str | None, typer.Option(help="Market data provider; see 'marketpipe providers'.")] = None,
    feed: Annotated[str | None, typer.Option(help="Alpaca's feed: iex, sip, otc or boats.")] = None,
    output_path: Annotated[str | None, typer.Option(help="Folder of the minute bars.")] = None,
    compression: Annotated[str | None, typer.Option(help="zstd or snappy.")] = None,
    session: Annotated[str | None, typer.Option(help="extended (04:00-20:00 ET) or regular.")] = None,
    json: Json = False,
) -> None:
    """Ingest what is missing.

    Every bar is validated and stored, then the aggregates are refreshed. Run it again to go on after a stop.
    """
    from marketpipe.config import PipelineConfig, load_config
    from marketpipe.terminal.ingestion import print_ingestion, progress_of

    given = {
        "symbols": None if symbols is None else [part.strip() for part in symbols.split(",")],
        "start": start,
        "end": end,
        "workers": workers,
        "provider": provider,
        "alpaca.feed": feed,
        "output_path": output_path,
        "compression": compression,
        "session": session,
    }
    settings: PipelineConfig = load_config(config, {key: value for key, value in given.items() if value is not None})
    with _pipeline(settings, HOW_TO_GO_ON) as pipeline, progress_of(pipeline):
        report = pipeline.ingest()
    print_ingestion(report, as_json=json)
    raise typer.Exit(COMPLETE if report.ok else SOMETHING_FAILED)


@app.command()
def validate(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Judge the stored bars by the rules.

    Exit code 1 where an error rule is broken or a file is damaged. Changes nothing.
    """
    from marketpipe.terminal.tables import print_validation

    with _store(config) as pipeline:
        report = pipeline.validate(_listed(symbols), start, end)
    print_validation(report, as_json=json)
    raise typer.Exit(COMPLETE if report.ok else SOMETHING_FAILED)


@app.command()
def aggregate(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    timeframes: Annotated[str | None, typer.Option(help="Such as 5m,1h,1d; without it, the configured ones.")] = None,
    json: Json = False,
) -> None:
    """Bring the aggregates up to date."""
    from marketpipe.terminal.tables import print_aggregation

    with _store(config) as pipeline:
        report = pipeline.aggregate(_listed(symbols), start, end, _listed(timeframes))
    print_aggregation(report, as_json=json)
    raise typer.Exit(COMPLETE if report.ok else SOMETHING_FAILED)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over bars, bars_5m, bars_15m, bars_1h, bars_1d …")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Ask the store a question in SQL.

    Nothing can be changed, and nothing outside the store read.
    """
    from marketpipe.terminal.tables import print_rows

    with _store(config) as pipeline:
        print_rows(pipeline.query(sql), as_json=json)


@app.command()
def status(config: Config = None, json: Json = False) -> None:
    """Show what the store has, and the latest jobs."""
    from marketpipe.terminal.tables import print_status

    with _store(config) as pipeline:
        print_status(pipeline.status(), as_json=json)


@app.command()
def metrics(
    config: Config = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve them over HTTP until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Print or serve what the store holds.

    As Prometheus metrics. An ingestion serves its own while it runs, where metrics.enabled is true.
    """
    from marketpipe.terminal.metrics import print_metrics, serve_metrics

    with _store(config) as pipeline:
        if serve:
            serve_metrics(pipeline)
        else:
            print_metrics(pipeline, as_json=json)


@app.command()
def providers(config: Config = None, json: Json = False) -> None:
    """List the market data providers.

    With --config, the configured one is marked.
    """
    from marketpipe.provider_registry import known_providers
    from marketpipe.terminal.tables import print_providers

    chosen = getattr(_settings(config), "provider", None)
    print_providers(known_providers(), chosen, as_json=json)


def main() -> None:
    """Runs the command line; every error a user can cause becomes a message and an exit code."""
    if debug := "--debug" in sys.argv[1:]:
        sys.argv.remove("--debug")
    with _messages(debug):
        app()


def _settings(config: Path | None) -> StoreConfig:
    from marketpipe.config import load_store_config

    return load_store_config(config)


def _store(config: Path | None) -> AbstractContextManager[Pipeline]:
    return _pipeline(_settings(config))


@contextmanager
def _pipeline(settings: StoreConfig, advice: str = "") -> Iterator[Pipeline]:
    """Ctrl-C and SIGTERM end what runs cleanly, and the process says so, with ``advice`` on how to go on."""
    from marketpipe.pipeline import Pipeline

    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with Pipeline(settings) as pipeline:
            yield pipeline
    except KeyboardInterrupt:
        _quit(f"interrupted{advice}", stop.code)


class _Stop:
    """The first signal asks for a clean end, the second does not wait for it: a request may hang for a while."""

    def __init__(self) -> None:
        self.code = 0

    def __call__(self, number: int, _: object) -> None:
        if self.code:
            os._exit(self.code)
        self.code = 128 + number
        typer.echo("stopping after what is in hand; once more to leave at once", err=True)
        raise KeyboardInterrupt


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


@contextmanager
def _messages(debug: bool) -> Iterator[None]:
    from marketpipe.shared_kernel.domain.errors import ConfigurationError, MarketPipeError, QueryError, ValidationError

    try:
        yield
    except MarketPipeError as error:
        if debug:
            traceback.print_exc()
        wrong = isinstance(error, (ConfigurationError, QueryError, ValidationError))
        _quit(f"error: {error}", WRONG_USAGE if wrong else SOMETHING_FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(SOMETHING_FAILED)


def _quit(message: str, code: int) -> None:
    typer.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
