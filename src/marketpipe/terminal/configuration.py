"""What is in force in a configuration, printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marketpipe.config import USUAL_FILE, ValueInForce
from marketpipe.terminal.output import out, print_json
from marketpipe.terminal.tables import print_table

ITEMS_SHOWN = 10


def print_values(values: Sequence[ValueInForce], file: Path | None, *, as_json: bool) -> None:
    """Print each key with its value and where that comes from."""
    if as_json:
        print_json([{"key": each.key, "value": each.value, "from": each.origin} for each in values])
        return
    out(f"configuration: {file.absolute()}" if file else f"there is no {USUAL_FILE} here; --config names another file")
    print_table(("key", "value", "from"), ((each.key, _text(each.value), str(each.origin)) for each in values))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items()) or "none"
        case list():
            more = f" … and {len(value) - ITEMS_SHOWN:,} more" if len(value) > ITEMS_SHOWN else ""
            return (", ".join(map(_text, value[:ITEMS_SHOWN])) or "none") + more
    return str(value)
