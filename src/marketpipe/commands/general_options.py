"""The options that every command has: where relative paths begin, and how much is printed.

They may come before the name of the command, or after it. The functions of the commands do not have them:
``with_general_options`` adds them to each, and applies them around it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from marketpipe.commands.help_layout import GENERAL
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.terminal.pasted_commands import naming
from marketpipe.terminal.process import report_errors
from marketpipe.terminal.verbosity import Verbosity, in_force

BEGINNING: Final = frozenset({"ingest", "import", "init", "sample"})
"""Commands that may begin a store, in a folder that does not exist yet."""


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def _general(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=GENERAL, **more)


def _folder(text: str) -> Path:
    """An empty name is that of a variable which is not set: it does not mean the current folder."""
    if not text.strip():
        raise typer.BadParameter("the name is empty: give a folder, such as . for this one")
    return Path(text)


Root = Annotated[
    Path | None,
    _general(
        "--root", metavar="DIR", parser=_folder, help="Folder in which relative paths begin, instead of this one."
    ),
]
Quiet = Annotated[bool, _general("--quiet", "-q", help="Print only what fails, and results: for cron.")]
Debug = Annotated[bool, _general("--debug", help="Show tracebacks.")]
Verbose = Annotated[bool, _general("--verbose", "-v", help="Show the log on standard error.")]
LogFormatOption = Annotated[
    LogFormat | None, _general("--log-format", help="Standard error as text, or as one JSON object a line.")
]


class GeneralOptions(NamedTuple):
    root: Path | None = None
    quiet: bool = False
    verbose: bool = False
    log_format: LogFormat | None = None
    debug: bool = False

    def and_then(self, later: GeneralOptions) -> GeneralOptions:
        """Combine the options before the name of a command with those after it, which win."""
        return GeneralOptions(
            later.root or self.root,
            later.quiet or self.quiet,
            later.verbose or self.verbose,
            later.log_format or self.log_format,
            later.debug or self.debug,
        )


def keep_for_the_command(
    context: typer.Context,
    root: Root = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_format: LogFormatOption = None,
    debug: Debug = False,
) -> None:
    """Keep the options that come before the name of a command, until it runs."""
    given = GeneralOptions(root, quiet, verbose, log_format, debug)
    context.obj = (context.obj or GeneralOptions()).and_then(given)


def with_general_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the general options after its own."""
    own = inspect.signature(command, eval_str=True)
    general = inspect.signature(keep_for_the_command, eval_str=True)

    def run(context: typer.Context, **options: Any) -> None:
        given = GeneralOptions(**{name: options.pop(name) for name in GeneralOptions._fields})
        begins_a_store, in_force = context.info_name in BEGINNING, (context.obj or GeneralOptions()).and_then(given)
        file = options.get("config", options.get("config_file"))
        with naming(in_force.root, file), _applied(in_force, begins_a_store):
            command(**_with_the_usual_file(options))

    parameters = {**own.parameters, **general.parameters}  # typer reads both, and calls with keywords
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters.values()]
    run.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    run.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    run.__doc__ = command.__doc__
    return run


def _with_the_usual_file(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with marketpipe.yaml as ``config`` if none is named and the current folder has that file."""
    if options.get("config", ...) is not None:
        return options
    from marketpipe.config import usual_file

    return {**options, "config": usual_file()}


@contextmanager
def _applied(options: GeneralOptions, begins_a_store: bool) -> Iterator[None]:
    as_json = options.log_format is LogFormat.JSON
    with in_force(Verbosity(options.quiet, options.verbose, as_json)), report_errors(options.debug):
        if options.root is None:
            yield
        else:
            with _entered(options.root, begins_a_store):
                yield


@contextmanager
def _entered(root: Path, begins_a_store: bool) -> Iterator[None]:
    """Make ``root`` the current folder: so every relative path begins there, also those of .env and of files named.

    A command that begins a store makes the folder, with its parents, but leaves none behind if nothing was written.
    """
    try:
        folder = root.expanduser().absolute()
        new = [each for each in (folder, *folder.parents) if begins_a_store and not each.exists()]
        if new:
            folder.mkdir(parents=True)
        os.chdir(folder)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"--root: {root} is not a folder that can be entered: {reason}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # one is not empty
            for each in new:
                each.rmdir()
