"""Tests of the options that every command has."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from marketpipe.cli import Group, app_for
from marketpipe.commands.general_options import GeneralOptions, LogFormat
from marketpipe.terminal.verbosity import Verbosity, verbosity

SEEN = list[tuple[Path, Verbosity]]()


def show(name: str = "") -> None:
    """Show."""
    SEEN.append((Path.cwd(), verbosity()))
    if name:
        raise ValueError(name)


TABLE = {"show": show, "config": Group("Two words.", {"show": show})}


def run(*words: str) -> Result:
    SEEN.clear()
    with contextlib.chdir(Path.cwd()):
        return CliRunner().invoke(app_for(words, TABLE), words)


@pytest.mark.parametrize(
    "words", [("--root", "{}", "show"), ("show", "--root", "{}"), ("config", "--root", "{}", "show"), ("show", "-v")]
)
def test_the_options_may_come_before_a_command_or_after_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(*(word.format(tmp_path) for word in words))

    assert done.exit_code == 0
    assert [(Path.cwd(), Verbosity(verbose=True)) if "-v" in words else (tmp_path, Verbosity())] == SEEN


def test_the_option_after_the_command_wins() -> None:
    early, late = GeneralOptions(Path("a"), quiet=True, log_format=LogFormat.JSON), GeneralOptions(Path("b"))

    assert early.and_then(late) == GeneralOptions(Path("b"), quiet=True, log_format=LogFormat.JSON)


def test_nothing_of_a_command_remains_in_force_after_it() -> None:
    run("show", "-q", "--log-format", "json")

    assert SEEN[0][1] == Verbosity(quiet=True, as_json=True)
    assert verbosity() == Verbosity()


@pytest.mark.parametrize("root", ["missing", "file", "a\0b"])
def test_a_root_that_cannot_be_entered_is_refused_before_the_command_runs(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").touch()
    done = run("show", "--root", str(tmp_path / root))

    assert (done.exit_code, SEEN) == (2, [])
    assert "--root" in done.output


def test_every_command_lists_them_in_its_help() -> None:
    text = run("show", "-h").output

    assert all(option in text for option in ("--name", "--root", "--quiet", "--verbose", "--log-format", "--debug"))
