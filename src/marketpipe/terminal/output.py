"""Lines and JSON on standard output and standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import typer

from marketpipe.shared_kernel.domain.secret_text import visible
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.storage.domain.exported_file import json_value
from marketpipe.terminal.pasted_commands import with_given_options
from marketpipe.terminal.verbosity import folded, width_of, write_error_line

ASCII = str.maketrans({"█": "#", "▒": "o", "○": "~", "·": ".", "…": "...", "━": "=", "─": "-"})


def out(line: str = "", *, is_prose: bool = True) -> None:
    """Print a line to standard output. What it quotes of others is made visible, see ``visible``.

    A terminal gets prose folded between words; what is no prose may be copied, so it stays one line. The commands that
    prose names get the --root and --config that were given.
    """
    shown = with_given_options(visible(line)) if is_prose else visible(line)
    typer.echo(folded(shown, width_of(sys.stdout)) if is_prose else shown)


def err(line: str) -> None:
    """Print a line to standard error, as ``out`` does."""
    write_error_line(visible(line), "warning")


def printable(text: str, encoding: str | None = None) -> str:
    """Return the text, in ASCII if the encoding (by default that of standard output) lacks one of its characters."""
    try:
        text.encode(encoding or sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return text.translate(ASCII)
    return text


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"


def print_json(value: object) -> None:
    """Print the value as JSON. NaN and infinities become null, bytes become hexadecimal, moments become RFC 3339."""
    out(json.dumps(json_value(value), indent=2, allow_nan=False), is_prose=False)


def reasons_as_json(reasons: Mapping[SymbolDay, str], name: str) -> list[dict[str, str]]:
    """Return one object for each symbol-day, by symbol, then date; ``name`` is the key of its reason."""
    return [
        {"symbol": str(day.symbol), "trading_date": str(day.trading_date), name: reason}
        for day, reason in sorted(reasons.items())
    ]
