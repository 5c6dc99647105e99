"""The commands in messages, with the options that say which store is meant: a user who pastes one reaches that store.

Messages of the library quote commands without them, as in ``'marketpipe ingest --symbols AAPL'``. Nothing heavy is
imported here: every ``marketpipe --help`` loads this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

QUOTED: Final = re.compile(r"'marketpipe ([a-z]+)(?=[ '])([^']*)")
COMMAND: Final = re.compile(r"'marketpipe [^'\n]*'")
OF_NO_STORE: Final = frozenset({"init", "providers", "plugin", "sample"})
"""Commands that work on no store, or begin another one."""
_given: list[tuple[Path | None, Path | None]] = []
"""--root and --config of the command that runs. Not a context variable: threads of an ingestion write messages too."""


@contextmanager
def naming(root: Path | None, config: Path | None) -> Iterator[None]:
    """Within the block, commands in messages get these options. None for one that was not given."""
    _given.append((root, config))
    try:
        yield
    finally:
        _given.pop()


def with_given_options(text: str) -> str:
    """Return the text with the options that were given in each quoted command that does not have them."""
    return QUOTED.sub(_completed, text) if _given and any(_given[-1]) and "'marketpipe " in text else text


def as_given(command: str) -> str:
    """Return a command, such as ``marketpipe audit --adopt``, with the options that were given."""
    return with_given_options(f"'{command}'")[1:-1]


def _completed(match: re.Match[str]) -> str:
    import shlex

    command, rest = match.groups()
    root, config = _given[-1]
    if command in OF_NO_STORE:
        return match[0]
    found = [("--root", root), ("--config", config)]
    wanted = [(name, value) for name, value in found if value is not None and f"{name} " not in f"{rest} "]
    options = "".join(f" {name} {shlex.quote(str(value))}" for name, value in wanted)
    if command == "config":  # a command of two words
        return f"'marketpipe config{rest}{options}"
    return f"'marketpipe {command}{options}{rest}"
