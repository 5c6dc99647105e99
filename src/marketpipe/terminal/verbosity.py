"""How much a command prints, and in which form: what ``--quiet``, ``--verbose`` and ``--log-format`` set.

Results go to standard output, everything else to standard error. Nothing heavy is imported here: every
``marketpipe --help`` loads this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple, TextIO

from marketpipe.terminal.pasted_commands import COMMAND, with_given_options


class Verbosity(NamedTuple):
    """``quiet``: no progress, and no summary of what went well. ``verbose``: show the log. ``as_json``: log as JSON."""

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False


DEFAULT = Verbosity()
_IN_FORCE = ContextVar("verbosity", default=DEFAULT)


def verbosity() -> Verbosity:
    """Return the verbosity of the command that runs; its methods run on the thread that called the command."""
    return _IN_FORCE.get()


def is_wanted(ok: bool, as_json: bool) -> bool:
    """Return whether the summary of a command is to be printed: with ``--quiet`` only for a failure, or as JSON."""
    return as_json or not ok or not verbosity().quiet


@contextmanager
def in_force(chosen: Verbosity) -> Iterator[None]:
    """Print as ``chosen`` within the block, and show there the log that it asks for."""
    token = _IN_FORCE.set(chosen)
    try:
        if chosen.verbose or chosen.as_json:
            with _log_shown(chosen):
                yield
        else:
            yield
    finally:
        _IN_FORCE.reset(token)


@contextmanager
def _log_shown(chosen: Verbosity) -> Iterator[None]:
    import logging

    from marketpipe.terminal.log_lines import handler

    logger, shown = logging.getLogger("marketpipe"), handler(as_json=chosen.as_json)
    level = logger.level
    logger.addHandler(shown)
    logger.setLevel(logging.INFO if chosen.verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(shown)
        logger.setLevel(level)


IN_A_COMMAND: Final = "\ue000"
"""Stands for a space while lines are broken."""
ALWAYS_SHOWN: Final = ("marketpipe.config", "marketpipe.storage.damage")
"""The loggers of what a user must know of: a configuration that may mean something else, and files that gave way."""


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Print within the block what ``ALWAYS_SHOWN`` warn of, unless the whole log is shown anyway."""
    if verbosity().verbose or verbosity().as_json:
        yield
        return
    import logging

    from marketpipe.terminal.log_lines import WarningLines

    loggers, shown = [logging.getLogger(name) for name in ALWAYS_SHOWN], WarningLines(write_error_line)
    for logger in loggers:
        logger.addHandler(shown)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(shown)


def write_error_line(line: str, level: str) -> None:
    """Write a line to standard error: folded on a terminal, or as the log's JSON with ``level``, such as "warning".

    It goes through ``sys.stderr`` as that is now: while a line of progress is drawn, rich puts it above that line.
    """
    line = with_given_options(line)
    if verbosity().as_json:
        import logging

        from marketpipe.terminal.log_lines import as_json

        line = as_json(logging.makeLogRecord({"name": "marketpipe", "levelname": level.upper(), "msg": line}))
    else:
        line = folded(line, width_of(sys.stderr))
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def folded(text: str, width: int | None) -> str:
    """Break lines that are longer than ``width`` between words, never within one, nor within a command that may be
    pasted. None: leave them as they are.
    """
    if width is None or len(text) <= width:
        return text
    import textwrap

    together = COMMAND.sub(lambda command: command[0].replace(" ", IN_A_COMMAND), text)
    folded_lines = (
        textwrap.fill(
            *(line, width),
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        )
        if len(line) > width
        else line
        for line in together.split("\n")
    )
    return "\n".join(folded_lines).replace(IN_A_COMMAND, " ")


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal that the stream is; None if it is a file, a pipe, or a terminal of no size."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):  # ValueError: a closed stream, or one without a descriptor
        return None
