from __future__ import annotations

import json
import math
import sys
from datetime import date, datetime
from decimal import Decimal

import typer

PLAIN = str.maketrans({"█": "#", "▒": "o", "○": "~", "·": ".", "…": "..."})


def out(line: str = "") -> None:
    typer.echo(line)


def err(line: str) -> None:
    typer.echo(line, err=True)


def drawable(text: str) -> str:
    """With plain signs where standard output knows no others."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return text.translate(PLAIN)
    return text


def print_json(value: object) -> None:
    """What JSON has no word for: NaN and the infinities become null, bytes hexadecimal text, moments RFC 3339."""
    out(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: object) -> object:
    match value:
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case bool() | int() | str() | None:
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)
