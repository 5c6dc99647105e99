"""Tests of how the table of commands becomes a command line."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from marketpipe.cli import COMMANDS, Group, app_for

RUNS = list[str]()


def greet(name: str = "world") -> None:
    """Greet by name."""
    RUNS.append(name)


def quit_now() -> None:
    """Quit."""


TABLE = {"greet": greet, "pair": Group("Do two things.", {"greet": greet, "quit": quit_now})}


def run(*words: str) -> tuple[int, str]:
    RUNS.clear()
    done = CliRunner().invoke(app_for(words, TABLE), words)
    return done.exit_code, done.output


def test_a_command_runs_with_its_options() -> None:
    assert run("greet", "--name", "Ada") == (0, "")
    assert RUNS == ["Ada"]


def test_a_command_of_a_group_runs_by_two_words() -> None:
    assert run("pair", "greet", "--name", "Ada") == (0, "")
    assert RUNS == ["Ada"]


@pytest.mark.parametrize("words", [("--help",), ("greet", "--help")])
def test_the_help_is_the_same_text_whichever_commands_are_named(words: tuple[str, ...]) -> None:
    table = CliRunner().invoke(app_for(TABLE, TABLE), words).output

    assert run(*words)[1] == table


def test_a_group_lists_its_commands() -> None:
    text = run("pair", "--help")[1]

    assert "Do two things." in text
    assert "Greet by name." in text
    assert "Quit." in text


def test_a_group_of_one_command_still_needs_its_name() -> None:
    words = ["one", "greet"]
    done = CliRunner().invoke(app_for(words, {"one": Group("One thing.", {"greet": greet})}), words)

    assert done.exit_code == 0


def test_every_command_explains_itself_in_the_table() -> None:
    for name, command in COMMANDS.items():
        assert (command.help if isinstance(command, Group) else command.__doc__ or "").strip(), name
