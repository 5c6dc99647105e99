"""The command line: the table of the commands, the options that belong to all of them, and ``main``.

The commands themselves are in ``marketpipe.commands``.
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
from collections.abc import Callable, Collection, Mapping, Sequence
from io import TextIOWrapper
from itertools import pairwise
from typing import Annotated, NamedTuple

import typer

from marketpipe.commands import checking, ingestion, moving, own_bars, reading, setup, upkeep
from marketpipe.commands.general_options import (
    Debug,
    LogFormatOption,
    Quiet,
    Root,
    Verbose,
    keep_for_the_command,
    with_general_options,
)
from marketpipe.commands.help_layout import SectionedCommand, SectionedGroup
from marketpipe.terminal.process import report_errors, run_app
from marketpipe.unneeded_imports import keep_out_unneeded_imports

PROGRAM, COMPLETES = "marketpipe", "_MARKETPIPE_COMPLETE"
BLAS_THREADS, ARROW_POOL = "OPENBLAS_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL"
OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""More than all imports of an ingestion make. With Python's own 700 it would search them for garbage 200 times."""
Command = Callable[..., None]


class Group(NamedTuple):
    """Commands with a common first word, such as ``marketpipe config show``."""

    help: str
    commands: Mapping[str, Command]


SECTIONS: Mapping[str, Mapping[str, Command | Group]] = {
    "Bars of a provider": {
        "plan": ingestion.plan,
        "ingest": ingestion.ingest,
        "update": ingestion.update,
        "audit": ingestion.audit,
    },
    "Bars in the store": {
        "status": reading.status,
        "query": reading.query,
        "export": reading.export,
        "aggregate": ingestion.aggregate,
        "compact": own_bars.compact,
        "drop": own_bars.drop,
        "metrics": reading.metrics,
    },
    "Your own bars, and samples": {
        "import": own_bars.import_files,
        "sample": own_bars.sample,
    },
    "Completeness and integrity": {
        "coverage": checking.coverage,
        "report": checking.report,
        "validate": checking.validate,
        "verify": checking.verify,
        "freeze": checking.freeze,
        "recover": checking.recover,
        "gc": upkeep.gc,
        "copy": moving.copy,
        "publish-delta": upkeep.publish_delta,
        "state": Group("Move what is recorded of the bars.", {"copy": moving.copy_state}),
    },
    "Set-up": {
        "init": setup.init,
        "config": Group("Show what is in force.", {"show": setup.show_config}),
        "providers": setup.providers,
        "plugin": Group("Write a market data provider of your own.", {"new": setup.new_plugin}),
    },
}
"""In the order of the help. A name in it is what the user types; the function may have another name."""
TITLES = {name: title for title, commands in SECTIONS.items() for name in commands}
COMMANDS = {name: command for commands in SECTIONS.values() for name, command in commands.items()}


def app_for(arguments: Collection[str], commands: Mapping[str, Command | Group] = COMMANDS) -> typer.Typer:
    """Return an app in which only the commands named in ``arguments`` have options; the others are names for the help.

    Typer resolves the annotations of all options that it is given. For all commands that takes an eighth of the time
    of ``marketpipe --help``, which prints none of them.
    """
    app = _app("marketpipe", "Keeps a local store of OHLCV bars complete, validated and verifiable.", completes=True)
    app.callback()(_global_options)
    _add(app, commands, arguments)
    return app


def _app(name: str, help_text: str | None, *, completes: bool = False) -> typer.Typer:
    return typer.Typer(
        name=name,
        cls=SectionedGroup,
        help=help_text,
        no_args_is_help=True,
        add_completion=completes,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def _add(app: typer.Typer, commands: Mapping[str, Command | Group], arguments: Collection[str]) -> None:
    for name, command in commands.items():
        if not isinstance(command, Group):
            shown = with_general_options(command) if name in arguments else _name_only
            app.command(name, cls=SectionedCommand, help=command.__doc__, rich_help_panel=TITLES.get(name))(shown)
        elif name not in arguments:
            app.command(name, help=command.help, rich_help_panel=TITLES.get(name))(_name_only)
        else:
            group = _app(name, command.help)
            group.callback()(keep_for_the_command)
            _add(group, command.commands, arguments)
            app.add_typer(group, rich_help_panel=TITLES.get(name))


def _name_only() -> None:
    """Stand in for a command that is listed in the help and cannot be run, as the arguments do not name it."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"marketpipe {version('marketpipe')}")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    root: Root = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormatOption = None,
    debug: Debug = False,
    version: Annotated[  # noqa: ARG001 - its callback has shown it
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    keep_for_the_command(context, root, quiet, verbose, log_format, debug)


def _json_is_asked_for(words: Sequence[str]) -> bool:
    """Return whether errors are to be JSON. Asked before the words are parsed: they may be wrong."""
    return any(pair == ("--log-format", "json") for pair in pairwise(words)) or "--log-format=json" in words


def _commands_for(words: Sequence[str]) -> Mapping[str, Command | Group]:
    """Return the command that the first word names, as no other can be meant; else all of them."""
    return {words[0]: COMMANDS[words[0]]} if words and words[0] in COMMANDS else COMMANDS


def _words_to_complete() -> list[str]:
    """Return what the user has typed so far, if a shell has started this process to complete it."""
    if COMPLETES not in os.environ:
        return []
    return [word for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS") for word in os.environ.get(name, "").split()]


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as with 2>&-: a file that is opened later must not get its number
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without Unicode shows a question mark instead of failing
            stream.reconfigure(errors="replace")
    # On import, numpy starts a BLAS thread for each processor: slower than the import itself, and none is used here.
    os.environ.setdefault(BLAS_THREADS, "1")
    # Arrow's own allocator keeps tens of megabytes that are free, and is no faster.
    os.environ.setdefault(ARROW_POOL, "system")
    keep_out_unneeded_imports()
    # Modules are not garbage: they are left alone when they are imported, and at exit, when everything ends anyway.
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)
    with report_errors("--debug" in sys.argv[1:]):
        words = sys.argv[1:]
        run_app(
            app_for([*words, *_words_to_complete()], _commands_for(words)), PROGRAM, as_json=_json_is_asked_for(words)
        )
