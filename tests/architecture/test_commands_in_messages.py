"""Every command in a message: quoted as a whole, so that it gets --root and --config, and one that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import marketpipe
from marketpipe.cli import COMMANDS, Group, app_for

SOURCE = Path(marketpipe.__file__).parent
NAMES = "|".join(COMMANDS)
QUOTED = re.compile(rf"'marketpipe ((?:{NAMES})\b[^']*)")
BARE = re.compile(rf"(?<!')\bmarketpipe (?:{NAMES})\b|'(?:{NAMES})'")
"""Without quotes, or without the first word."""
FOR_OTHERS = {"metrics/series.py", "config/starter.py"}
"""Help texts of metrics and comments of a file: they are read where no --root was given."""
PASTED_ALONE = {"terminal/ingestion.py", "terminal/importing.py", "terminal/store.py"}
"""A command that has a line for itself, or a constant that is quoted where it is printed."""


def messages(file: Path) -> Iterator[str]:
    """Yield the texts of a file that are no docstrings; ``{}`` stands for what is filled in."""
    nodes = [*ast.walk(ast.parse(file.read_text("utf-8")))]
    alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    within = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (alone | within):
            yield node.value


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command."""
    app = typer.main.get_command(app_for([*COMMANDS, "show", "new"]))
    found = dict[str, set[str]]()
    for name, command in app.commands.items():  # type: ignore[attr-defined]
        parts = command.commands.values() if isinstance(COMMANDS[name], Group) else [command]
        found[name] = {option for part in parts for parameter in part.params for option in parameter.opts}
    return found


def test_commands_in_messages_exist_and_are_quoted_as_a_whole(options: dict[str, set[str]]) -> None:
    quoted, bare, unknown = 0, list[str](), list[str]()
    for file in sorted(SOURCE.rglob("*.py")):
        name = str(file.relative_to(SOURCE))
        for text in messages(file) if name not in FOR_OTHERS else ():
            if BARE.search(text) and name not in PASTED_ALONE:
                bare.append(f"{name}: {text}")
            for command in QUOTED.findall(text):
                quoted += 1
                used = set(re.findall(r"--[a-z][a-z-]*", command))
                unknown += [f"{name}: {command}"] if used - options[re.findall("[a-z]+", command)[0]] else []

    assert (bare, unknown) == ([], [])
    assert quoted > 40
