"""The command line: parse, call the library, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from marketpipe.commands import asking, integrity, stored
from marketpipe.commands.process import messages

app = typer.Typer(
    name="marketpipe",
    help="Keeps a local store of OHLCV bars true: plans, ingests, validates, stores, aggregates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
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
):
    app.command()(command)


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


def main() -> None:
    """Runs the command line; every error a user can cause becomes a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that knows no Unicode shows a sign in its place
            stream.reconfigure(errors="replace")
    if debug := "--debug" in sys.argv[1:]:
        sys.argv.remove("--debug")
    with messages(debug):
        app()


if __name__ == "__main__":
    main()
