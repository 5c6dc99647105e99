"""The commands with which a store is set up."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from marketpipe.commands.options import (
    Compression,
    Config,
    End,
    ExecutorKind,
    Feed,
    Json,
    OutputPath,
    Provider,
    Scheduler,
    Session,
    Start,
    Symbols,
    Workers,
    configured,
    listed,
    overrides,
)
from marketpipe.terminal.verbosity import is_wanted

LATEST, FIRST_DATE, USUAL = "latest", "2024-01-02", "marketpipe.yaml"

ProviderName = Annotated[str, typer.Argument(help="Name of the provider, such as acme.", metavar="NAME")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Folder of the package, new or empty; marketpipe-NAME if not given.",
    ),
]


def providers(config: Config = None, json: Json = False) -> None:
    """List the market data providers.

    An asterisk marks the configured one. Tells also whether the extra fast is installed.
    """
    from marketpipe.config import load_store_config
    from marketpipe.provider_registry import is_fast_installed, known_providers
    from marketpipe.terminal.store import print_providers

    configured = getattr(load_store_config(config), "provider", None)
    print_providers(known_providers(), configured, has_fast=is_fast_installed(), as_json=json)


def show_config(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    workers: Workers = None,
    executor: ExecutorKind = None,
    scheduler: Scheduler = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    compression: Compression = None,
    session: Session = None,
    json: Json = False,
) -> None:
    """Show every key with the value in force, and where it comes from.

    From an option, the file, the environment or .env, or the default. Paths are shown as they are used. Of credentials
    it shows whether they are set. Takes the options of ingest, and changes nothing.
    """
    import os

    from marketpipe.config import load_store_config, values_in_force
    from marketpipe.terminal.configuration import print_values
    from marketpipe.terminal.process import open_pipeline

    scope = {"start": start, "end": end, "session": session}
    others = {"workers": workers, "executor": executor, "scheduler": scheduler, "compression": compression}
    changed = overrides(symbols, feed, **scope, **others, provider=provider, output_path=output_path)
    settings = configured(config, changed) if changed else load_store_config(config)
    with open_pipeline(settings) as pipeline:  # refuses what an ingestion would refuse
        values = values_in_force(pipeline.config, config, changed, os.environ)
    print_values(values, config, as_json=json)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path(USUAL),
    provider: Provider = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a commented configuration file.

    Asks for the market data provider, the symbols and the first date, as far as options do not give them.

    marketpipe init
    marketpipe init --provider alpaca --symbols AAPL,MSFT --start 2024-01-02
    """
    from marketpipe.config import load_config, starter_text
    from marketpipe.provider_registry import check_provider
    from marketpipe.shared_kernel.domain.errors import ConfigurationError
    from marketpipe.terminal.output import out

    if file.exists() and not force:
        raise ConfigurationError(f"{file} exists already; --force replaces it, or name another file")
    source = provider or _answer("Market data provider, such as alpaca or synthetic", check_provider, "alpaca")
    names = listed(symbols) or listed([_answer("Symbols, separated by commas", _check_symbols)]) or []
    first = start or _answer("First trading date, YYYY-MM-DD", _check_date, FIRST_DATE)
    last = end or LATEST
    check_provider(source)
    checked = load_config(None, {"provider": source, "symbols": names, "start": first, "end": last})
    if not any(name.startswith("@") for name in names):
        names = [str(symbol) for symbol in checked.symbols]
    try:
        file.write_text(starter_text(str(file), source, names, first, last), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be written: {error}") from error
    if not is_wanted(ok=True, as_json=False):
        return
    keys = "set ALPACA_KEY and ALPACA_SECRET in the environment or in .env, then run " if source == "alpaca" else "run "
    named = "" if str(file) == USUAL else f" --config {shlex.quote(str(file))}"
    out(f"{file} is written. Next: {keys}'marketpipe plan{named}', and 'marketpipe ingest{named}'")


def _answer(question: str, check: Callable[[str], Any], default: str | None = None) -> str:
    """Ask on the terminal, again until the answer passes the check.

    Raises ``ConfigurationError`` if there is nothing to read an answer from.
    """
    from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError

    def checked(text: str) -> str:
        try:
            check(text.strip())
        except (ConfigurationError, ValidationError) as error:
            raise typer.BadParameter(str(error)) from error
        return text.strip()

    try:
        return str(typer.prompt(question, default=default, value_proc=checked, err=True))
    except typer.Abort as error:
        typer.echo(err=True)  # ends the line of the question
        raise ConfigurationError(
            "no answer could be read; give --provider, --symbols and --start instead: nothing is written"
        ) from error


def _check_symbols(text: str) -> None:
    from marketpipe.config import expanded

    expanded([name.strip() for name in text.split(",")], {}, Path())


def _check_date(text: str) -> None:
    from marketpipe.shared_kernel.domain.trading_date import as_trading_date

    as_trading_date(text)


def new_plugin(name: ProviderName, folder: Folder = None) -> None:
    """Write a package for a market data provider of your own.

    Its tests pass as it is; a README in it says what to change. Overwrites nothing.

    marketpipe plugin new acme
    """
    from marketpipe.plugin_skeleton import write_plugin
    from marketpipe.terminal.setup import print_new_plugin

    written = write_plugin(name, folder)
    if is_wanted(ok=True, as_json=False):
        print_new_plugin(written)
