"""The process around a command: signals, messages, exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from marketpipe.config import StoreConfig
    from marketpipe.pipeline import Pipeline

HOW_TO_GO_ON = ". What is checkpointed stays; run the same command again to go on from there"
COMPLETE, SOMETHING_FAILED, WRONG_USAGE = 0, 1, 2


def leave(well: bool) -> None:
    """Leaves the command with the exit code for how it went."""
    raise typer.Exit(COMPLETE if well else SOMETHING_FAILED)


def settings_of(config: Path | None) -> StoreConfig:
    from marketpipe.config import load_store_config

    return load_store_config(config)


def store_of(config: Path | None, advice: str = "") -> AbstractContextManager[Pipeline]:
    return pipeline_of(settings_of(config), advice)


@contextmanager
def pipeline_of(settings: StoreConfig, advice: str = "") -> Iterator[Pipeline]:
    """Ctrl-C and SIGTERM end what runs cleanly, and the process says so, with ``advice`` on how to go on."""
    from marketpipe.pipeline import Pipeline

    _show_warnings()
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with Pipeline(settings) as pipeline:
            yield pipeline
    except KeyboardInterrupt:
        _quit(f"interrupted{advice}", stop.code)


def _show_warnings() -> None:
    """Of the configuration; whatever else is logged, the commands print themselves."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logging.getLogger("marketpipe.config").addHandler(handler)


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


@contextmanager
def messages(debug: bool) -> Iterator[None]:
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
    except OSError as error:  # such as a standard output on a disk that is full
        if debug:
            traceback.print_exc()
        _forget(sys.stdout)
        _quit(f"error: the system refuses: {error}; free space or allow it, and try again", SOMETHING_FAILED)


def _forget(stream: TextIO) -> None:
    """What it still holds cannot be written: the end of the process is not to try it again."""
    with suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _quit(message: str, code: int) -> None:
    try:
        typer.echo(message, err=True)
    except OSError:  # the code says it too
        _forget(sys.stderr)
    sys.exit(code)
