"""The command line: parse, call the library, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Collection
from io import TextIOWrapper
from typing import Annotated

import typer

from marketpipe.commands import asking, integrity, stored
from marketpipe.commands.process import messages

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""numpy starts one for each processor when it is imported, which costs more than the import; nobody here needs any."""
COMMANDS = (
    asking.plan,
    asking.ingest,
    asking.update,
    stored.coverage,
    asking.audit,
    integrity.verify,
    integrity.recover,
    integrity.freeze,
    stored.validate,
    stored.aggregate,
    stored.query,
    stored.status,
    stored.metrics,
    stored.providers,
)


def app_for(words: Collection[str]) -> typer.Typer:
    """With the options of those commands that are among the words: to make all of them takes longer than any help."""
    app = typer.Typer(
        name="marketpipe",
        help="Keeps a local store of OHLCV bars true: plans, ingests, validates, stores, aggregates.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for command in COMMANDS:
        asked = command.__name__ in words
        app.command(command.__name__, help=command.__doc__)(command if asked else _not_asked)
    return app


def _not_asked() -> None:
    """Stands in a list of commands for one of them."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"marketpipe {version('marketpipe')}")
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """``--debug`` is read by ``main``, which has to know it when an error comes up."""


def main() -> None:
    """Runs the command line; every error a user can cause becomes a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that knows no Unicode shows a sign in its place
            stream.reconfigure(errors="replace")
    if debug := "--debug" in sys.argv[1:]:
        sys.argv.remove("--debug")
    os.environ.setdefault(BLAS_THREADS, "1")
    atexit.register(gc.freeze)  # when the process ends nothing is worth looking for that nobody uses
    with messages(debug):
        app_for(sys.argv[1:])()


if __name__ == "__main__":
    main()
