from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand
from typer.testing import CliRunner

from marketpipe.commands.help_layout import SectionedCommand


class Size(StrEnum):
    SMALL = "small"


def _upper(text: str) -> str:
    return text.upper()


def command(
    text: Annotated[str | None, typer.Option("--text")] = None,
    texts: Annotated[list[str] | None, typer.Option("--texts")] = None,
    path: Annotated[Path | None, typer.Option("--path")] = None,
    present: Annotated[Path | None, typer.Option("--present", exists=True)] = None,
    folder: Annotated[Path | None, typer.Option("--folder", file_okay=False)] = None,
    number: Annotated[int | None, typer.Option("--number")] = None,
    size: Annotated[Size | None, typer.Option("--size")] = None,
    parsed: Annotated[str | None, typer.Option("--parsed", parser=_upper)] = None,
    flag: Annotated[bool, typer.Option("--flag")] = False,
) -> None:
    typer.echo([text, texts, path, present, folder, number, size, parsed, flag])


def answered(words: list[str], cls: type[TyperCommand]) -> tuple[Any, ...]:
    app = typer.Typer()
    app.command(cls=cls)(command)
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--text", "a b", "--flag"],
        ["--text", ""],
        ["--texts", "a", "--texts", "b"],
        ["--path", "missing/file", "--text", "x"],
        ["--path", ""],
        ["--path", "."],
        ["--present", "missing"],
        ["--present", "."],
        ["--folder", __file__],
        ["--number", "2"],
        ["--number", "two"],
        ["--size", "small"],
        ["--size", "large"],
        ["--parsed", "a"],
        ["--unknown"],
        ["--text"],
    ],
)
def test_options_mean_what_they_mean_to_typer(words: list[str]) -> None:
    assert answered(words, SectionedCommand) == answered(words, TyperCommand)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused_as_typer_does(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0)
    words = ["--path", str(secret)]
    assert answered(words, SectionedCommand) == answered(words, TyperCommand)
