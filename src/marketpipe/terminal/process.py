"""The process around a command: its signals, its warnings, its error messages and its exit codes.

Exit codes: 0 everything is complete, 1 something failed or is missing, 2 wrong usage or configuration, 128 and the
number of the signal if a signal stopped it (130 for Ctrl-C, 143 for SIGTERM). Nothing heavy is imported here: every
``marketpipe --help`` loads this module.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from marketpipe.memory_arenas import share_one_arena
from marketpipe.terminal.verbosity import Verbosity, in_force, warnings_shown, write_error_line
from marketpipe.unneeded_imports import allow_all_imports

if TYPE_CHECKING:
    from marketpipe.config import StoreConfig
    from marketpipe.pipeline import Pipeline
    from marketpipe.shared_kernel.events import MetricsNotDelivered

COMPLETE, SOMETHING_FAILED, WRONG_USAGE = 0, 1, 2
HOW_TO_CONTINUE = ". Checkpointed work is kept; run the same command again to continue"


def exit_with(ok: bool) -> None:
    """End the command with exit code 0 if ``ok``, else 1."""
    raise typer.Exit(COMPLETE if ok else SOMETHING_FAILED)


def open_store(config: Path | None, advice: str = "") -> AbstractContextManager[Pipeline]:
    """Open the store of a configuration file, or that of the current folder if there is none."""
    from marketpipe.config import load_store_config
    from marketpipe.provider_registry import with_known_provider

    return open_pipeline(with_known_provider(load_store_config(config), config), advice)


@contextmanager
def open_pipeline(settings: StoreConfig, advice: str = "") -> Iterator[Pipeline]:
    """Open a pipeline that stop signals end cleanly; ``advice`` is added to the message printed then."""
    from marketpipe.config import PipelineConfig
    from marketpipe.pipeline import Pipeline
    from marketpipe.provider_registry import is_registered
    from marketpipe.shared_kernel.events import MetricsNotDelivered

    if isinstance(settings, PipelineConfig) and is_registered(settings.provider):
        allow_all_imports()  # a provider that is not ours may make arrays of pandas objects
    share_one_arena()
    stop = _StopSignal()
    before = {number: signal.signal(number, stop) for number in _stop_signals()}
    try:
        with warnings_shown(), Pipeline(settings) as pipeline:
            pipeline.subscribe(MetricsNotDelivered, _warn_of_metrics)
            gc.freeze()
            gc.enable()
            yield pipeline
    except KeyboardInterrupt:
        _fail(f"interrupted{advice}", stop.exit_code)
    for number, handler in before.items():  # what is left is to be printed
        signal.signal(number, handler)


def _warn_of_metrics(event: MetricsNotDelivered) -> None:
    """Write that metrics did not reach their place, whatever the command, and with --quiet too."""
    from marketpipe.shared_kernel.domain.secret_text import visible

    write_error_line(visible(f"warning: {event.reason}"), "warning")


def _stop_signals() -> list[int]:
    """Return Ctrl-C, SIGTERM, and SIGHUP, which a closed terminal sends (there is none on Windows)."""
    hang_up: int | None = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:  # started with nohup, to outlive its terminal
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


class _StopSignal:
    """Handler of stop signals: the first one asks for a clean end, the second one ends the process at once.

    The clean end waits for running requests, and a request may hang for a while.
    """

    def __init__(self) -> None:
        self.exit_code = 0

    def __call__(self, number: int, _: object) -> None:
        if self.exit_code:
            if number == self.exit_code - 128 == getattr(signal, "SIGHUP", None):
                return  # a terminal that closes and the shell in it both send one
            os._exit(self.exit_code)
        self.exit_code = 128 + number
        with suppress(OSError):  # the terminal may be gone
            write_error_line("stopping after the work in progress; interrupt again to exit at once", "warning")
        raise KeyboardInterrupt


@contextmanager
def report_errors(debug: bool) -> Iterator[None]:
    """Turn every error that a user can cause into a message and an exit code; ``debug`` adds the traceback."""
    from marketpipe.shared_kernel.domain.errors import ConfigurationError, MarketPipeError, QueryError, ValidationError

    try:
        yield
    except MarketPipeError as error:
        if debug:
            traceback.print_exc()
        wrong_usage = isinstance(error, (ConfigurationError, QueryError, ValidationError))
        _fail(f"error: {error}", WRONG_USAGE if wrong_usage else SOMETHING_FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(SOMETHING_FAILED)
    except OSError as error:  # such as a standard output on a full disk
        if debug:
            traceback.print_exc()
        _discard(sys.stdout)
        message = f"error: the operating system reports: {error}; free space or grant access, then try again"
        _fail(message, SOMETHING_FAILED)


def run_app(app: Callable[..., Any], program: str, *, as_json: bool) -> None:
    """Run the app to its end. What typer refuses, such as an unknown option, becomes a line of JSON if ``as_json``."""
    if not as_json:
        app(prog_name=program)
    usage_error = cast("type[Any]", typer.BadParameter.__base__)  # typer does not export it
    try:
        sys.exit(app(prog_name=program, standalone_mode=False))
    except usage_error as error:
        message, code = f"error: {error.format_message()}", WRONG_USAGE
    except typer.Abort:
        message, code = "error: aborted", SOMETHING_FAILED
    with in_force(Verbosity(as_json=True)):
        _fail(message, code)


def _fail(message: str, exit_code: int) -> None:
    from marketpipe.shared_kernel.domain.secret_text import visible

    try:
        write_error_line(visible(message), "error")
    except OSError:  # the exit code still tells the caller
        _discard(sys.stderr)
    sys.exit(exit_code)


def _discard(stream: TextIO) -> None:
    """Drop what the stream still buffers: it cannot be written, and Python would try again when the process ends."""
    with suppress(OSError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
