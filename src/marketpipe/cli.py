"""The command line: each command parses its options, calls the library and prints the result.

Nothing heavy is imported before a command runs: ``marketpipe --help`` has to start quickly. So commands import what
they need inside their functions, and all that is printed is written by the modules of ``marketpipe.terminal``.
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything slow is imported, so that Ctrl-C is handled from the first moment
    import runpy

    runpy.run_module("marketpipe", run_name="__main__")
    raise SystemExit

import atexit
import gc
import os
import sys
from collections.abc import Collection
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketpipe.terminal.process import HOW_TO_CONTINUE, exit_with, open_pipeline, open_store, report_errors

if TYPE_CHECKING:
    from marketpipe.storage.domain.dataset_lock import DatasetLock

BLAS_THREADS = "OPENBLAS_NUM_THREADS"

Config = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file with the configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Symbols = Annotated[str | None, typer.Option("--symbols", help="Symbols, separated by commas.")]
Start = Annotated[str | None, typer.Option("--start", help="First trading date, YYYY-MM-DD.")]
End = Annotated[str | None, typer.Option("--end", help="Last trading date, YYYY-MM-DD, inclusive.")]
EndOrLatest = Annotated[
    str | None, typer.Option("--end", help="Last trading date, inclusive, or 'latest': the newest final session.")
]
Workers = Annotated[int | None, typer.Option(help="Number of batches that run at the same time.")]
ExecutorKind = Annotated[
    str | None, typer.Option("--executor", help="threads, or processes (faster if there are processors for them).")
]
Provider = Annotated[str | None, typer.Option(help="Market data provider; 'marketpipe providers' lists them.")]
Feed = Annotated[str | None, typer.Option(help="Alpaca data feed: sip (all US exchanges), iex or otc.")]
OutputPath = Annotated[str | None, typer.Option(help="Folder for the minute bars.")]
Compression = Annotated[str | None, typer.Option(help="Parquet compression: zstd or snappy.")]
Session = Annotated[
    str | None,
    typer.Option("--session", help="Hours to store: extended (04:00-20:00 ET) or regular."),
]
RetrySuspect = Annotated[
    bool, typer.Option("--retry-suspect", help="Request again what 'marketpipe coverage' reports as suspect.")
]


def plan(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    session: Session = None,
    retry_suspect: RetrySuspect = False,
    json: Json = False,
) -> None:
    """Show what ingest would request, and what it would cost.

    Sends no request and changes nothing.
    """
    from marketpipe.config import load_config
    from marketpipe.terminal.ingestion import print_plan

    scope = {"start": start, "end": end, "session": session}
    overrides = _overrides(symbols, feed, **scope, provider=provider, output_path=output_path)
    with open_pipeline(load_config(config, overrides)) as pipeline:
        print_plan(pipeline.plan(retry_suspect=retry_suspect), as_json=json)


def ingest(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    workers: Workers = None,
    executor: ExecutorKind = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    compression: Compression = None,
    session: Session = None,
    retry_suspect: RetrySuspect = False,
    json: Json = False,
) -> None:
    """Request, validate and store the bars that are missing.

    Then refreshes the aggregates. If it was stopped, run it again to continue. Exit code 1 if anything failed.
    """
    from marketpipe.config import load_config
    from marketpipe.terminal.ingestion import print_ingestion
    from marketpipe.terminal.progress import show_progress

    scope = {"start": start, "end": end, "session": session}
    others = {"workers": workers, "executor": executor, "compression": compression}
    overrides = _overrides(symbols, feed, **scope, **others, provider=provider, output_path=output_path)
    with open_pipeline(load_config(config, overrides), HOW_TO_CONTINUE) as pipeline, show_progress(pipeline):
        report = pipeline.ingest(retry_suspect=retry_suspect)
    print_ingestion(report, as_json=json)
    exit_with(report.ok)


def update(config: Config = None, symbols: Symbols = None, json: Json = False) -> None:
    """Bring the store up to the newest final session.

    Begins with each symbol's last settled session and ignores the configured end. Safe to run from cron: if another
    update of the same store is running, this one prints a message, does nothing and ends with exit code 0.
    """
    from marketpipe.shared_kernel.domain.errors import StoreBusyError
    from marketpipe.terminal.ingestion import print_ingestion
    from marketpipe.terminal.output import err
    from marketpipe.terminal.progress import show_progress

    try:
        with open_store(config, HOW_TO_CONTINUE) as pipeline, show_progress(pipeline):
            report = pipeline.update(_listed(symbols))
    except StoreBusyError as busy:
        err(str(busy))
        return
    print_ingestion(report, as_json=json)
    exit_with(report.ok)


def coverage(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also if anything is short.")] = False,
    json: Json = False,
) -> None:
    """Show for every symbol and session whether its bars are stored.

    Prints a summary, a map, and every gap with its reason. Exit code 1 if anything is missing, suspect or lost; with
    --strict also if it is short: the provider repeated its answer, and the evidence is still against it.
    """
    from marketpipe.terminal.coverage import print_coverage

    with open_store(config) as pipeline:
        report = pipeline.coverage(_listed(symbols), start, end)
    print_coverage(report, as_json=json)
    exit_with(report.strict_ok if strict else report.ok)


def audit(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    sample: Annotated[str | None, typer.Option(help="Share of the sessions to compare, such as 2%.")] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Replace bars that differ; the old ones are kept as a revision.")
    ] = False,
    json: Json = False,
) -> None:
    """Request stored sessions again, and compare them bar by bar.

    Changes nothing without --adopt. Exit code 1 if the provider's bars differ from the stored ones.
    """
    from marketpipe.terminal.ingestion import print_audit
    from marketpipe.terminal.progress import show_progress

    with open_store(config) as pipeline, show_progress(pipeline):
        report = pipeline.audit(_listed(symbols), start, end, sample=sample, adopt=adopt)
    print_audit(report, config, as_json=json)
    exit_with(report.ok)


def verify(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    lock: Annotated[Path | None, typer.Option("--lock", help="File written by 'marketpipe freeze'.")] = None,
    json: Json = False,
) -> None:
    """Read every byte, and list damaged, lost or foreign files.

    With --lock, prove that the frozen files are unchanged. Exit code 1 if there is any problem.
    """
    from marketpipe.terminal.integrity import print_integrity

    frozen = None if lock is None else _read_lock(lock)
    with open_store(config) as pipeline:
        report = pipeline.verify(_listed(symbols), start, end, lock=frozen)
    print_integrity(report, frozen, as_json=json)
    exit_with(report.ok)


def recover(
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Rebuild the state even if it can be read.")] = False,
    json: Json = False,
) -> None:
    """Rebuild a lost or damaged state from the stored files.

    The old state file is kept under another name. Exit code 1 if any stored file is damaged.
    """
    from marketpipe.terminal.integrity import print_recovery

    with open_store(config) as pipeline:
        report = pipeline.recover(force=force)
    print_recovery(report, as_json=json)
    exit_with(report.ok)


def freeze(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Print a lock: the hash of the dataset and of each of its files.

    'marketpipe verify --lock' checks it, later or on another machine. Fails if the store is damaged.
    """
    from marketpipe.terminal.integrity import print_lock

    with open_store(config) as pipeline:
        print_lock(pipeline.freeze(_listed(symbols), start, end), as_json=json)


def validate(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Check the stored bars against the validation rules.

    Changes nothing. Exit code 1 if bars break a rule of severity error, or if a file is damaged.
    """
    from marketpipe.terminal.store import print_validation

    with open_store(config) as pipeline:
        report = pipeline.validate(_listed(symbols), start, end)
    print_validation(report, as_json=json)
    exit_with(report.ok)


def aggregate(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    timeframes: Annotated[
        str | None, typer.Option(help="Such as 5m,1h,1d; by default those configured or already stored.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring the aggregates up to date with the minute bars."""
    from marketpipe.terminal.store import print_aggregation

    with open_store(config) as pipeline:
        report = pipeline.aggregate(_listed(symbols), start, end, _listed(timeframes))
    print_aggregation(report, as_json=json)
    exit_with(report.ok)


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


def providers(config: Config = None, json: Json = False) -> None:
    """List the market data providers.

    An asterisk marks the configured one.
    """
    from marketpipe.config import load_store_config
    from marketpipe.provider_registry import known_providers
    from marketpipe.terminal.store import print_providers

    configured = getattr(load_store_config(config), "provider", None)
    print_providers(known_providers(), configured, as_json=json)


def _overrides(symbols: str | None, feed: str | None, **others: object) -> dict[str, object]:
    """Return the options that were given, by the keys of the configuration that they override."""
    options = {"symbols": _listed(symbols), "alpaca.feed": feed, **others}
    return {key: value for key, value in options.items() if value is not None}


def _listed(text: str | None) -> list[str] | None:
    """Split an option at its commas."""
    return None if text is None else [part.strip() for part in text.split(",")]


def _read_lock(file: Path) -> DatasetLock:
    """Raise ``ConfigurationError`` if the file cannot be read or is not an unchanged lock."""
    from marketpipe.shared_kernel.domain.errors import ConfigurationError
    from marketpipe.storage.domain.dataset_lock import DatasetLock

    try:
        return DatasetLock.parse(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read as a lock: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error


COMMANDS = (
    *(plan, ingest, update, coverage, audit),
    *(verify, recover, freeze),
    *(validate, aggregate, query, status, metrics, providers),
)
"""In the order of the help."""


def app_for(arguments: Collection[str]) -> typer.Typer:
    """Return an app in which only the commands named in ``arguments`` have options; the others are names for the help.

    Typer resolves the annotations of all options that it is given. For all commands that takes an eighth of the time
    of ``marketpipe --help``, which prints none of them.
    """
    app = typer.Typer(
        name="marketpipe",
        help="Keeps a local store of OHLCV bars complete, validated and verifiable.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_global_options)
    for command in COMMANDS:
        named = command.__name__ in arguments
        app.command(command.__name__, help=command.__doc__)(command if named else _name_only)
    return app


def _name_only() -> None:
    """Stand in for a command that is listed in the help and cannot be run, as the arguments do not name it."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"marketpipe {version('marketpipe')}")
        raise typer.Exit


def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Declare ``--debug`` for the help; ``main`` reads it itself, as it needs it before a command is parsed."""


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without Unicode shows a question mark instead of failing
            stream.reconfigure(errors="replace")
    if debug := "--debug" in sys.argv[1:]:
        sys.argv.remove("--debug")
    # On import, numpy starts a BLAS thread for each processor: slower than the import itself, and none is used here.
    os.environ.setdefault(BLAS_THREADS, "1")
    # At exit the interpreter would collect garbage once more, though every object ends with the process anyway.
    atexit.register(gc.freeze)
    with report_errors(debug):
        app_for(sys.argv[1:])()
