from __future__ import annotations

import json
from datetime import date, datetime

import typer


def out(line: str = "") -> None:
    typer.echo(line)


def err(line: str) -> None:
    typer.echo(line, err=True)


def print_json(value: object) -> None:
    out(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)
