"""Tests of how the table of commands becomes a command line."""

from __future__ import annotations

import shlex

import pytest
import typer
from typer.testing import CliRunner

from marketpipe.cli import COMMANDS, PROGRAM, Group, app_for

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


def words_of_help(*words: str) -> list[str]:
    return CliRunner().invoke(app_for(words), [*words, "--help"], env={"COLUMNS": "80"}).output.splitlines()


def test_the_help_lists_every_command_in_its_section_on_one_line_of_80_columns() -> None:
    lines = words_of_help()

    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in COMMANDS] == [*COMMANDS]
    assert not any("..." in line for line in lines[3:])
    assert lines.index("Bars of a provider:") < lines.index("Set-up:") < lines.index("General options:")


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not isinstance(command, Group)])
def test_the_help_of_a_command_has_no_type_of_python_and_ends_with_the_general_options(name: str) -> None:
    lines = words_of_help(name)

    assert not any(f"<{kind}>" in "".join(lines) for kind in ("str", "int", "path", "list[str]"))
    assert all(len(line) <= 80 for line in lines if not line.startswith("  marketpipe "))
    assert any(line.startswith("  --root DIR") for line in lines[lines.index("General options:") :])


def test_the_examples_in_the_help_are_command_lines_that_can_be_parsed() -> None:
    commands = [(name,) if not isinstance(each, Group) else (name, *each.commands) for name, each in COMMANDS.items()]
    examples = [
        line.strip() for words in commands for line in words_of_help(*words) if line.startswith("  marketpipe ")
    ]

    assert len(examples) >= 15
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])[1:]
        group = typer.main.get_command(app_for(words))
        with group.make_context(PROGRAM, [*words]) as context:
            name, command, rest = group.resolve_command(context, words)  # type: ignore[attr-defined]
            command.make_context(name, rest, parent=context)
