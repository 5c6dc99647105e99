"""Every block of code of README.md and of the site runs; every command, option and link that they name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from marketpipe.cli import COMMANDS, app_for
from marketpipe.config import load_config
from tests.support.documented_pages import PAGES, ROOT, Block, Interpreter, Reader, blocks
from tests.support.installed import require

SOURCES = ROOT / "src" / "marketpipe"
RUNNING = [page for page in PAGES if any(block.is_run and block.language != "text" for block in blocks(page))]
RUN_BY = re.compile(r"run by (tests/[\w/]+\.py): (\w+)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter() as running:
        yield running


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_what_a_page_says_works(page: Path, tmp_path: Path, interpreter: Interpreter) -> None:
    reader = Reader(tmp_path, interpreter)
    for block in blocks(page):
        if block.program:
            require(block.program)
        if block.is_run:
            reader.follow(block)


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        yield from blocks(page)


def test_a_block_that_does_not_run_has_a_reason_or_a_test_of_its_own() -> None:
    for block in _blocks():
        if block.comment.startswith("not run"):
            assert len(block.comment.removeprefix("not run: ").split()) > 1, block.place
        if found := RUN_BY.match(block.comment):
            assert f'"{found[2]}"' in (ROOT / found[1]).read_text("utf-8"), block.place
        assert block.language, f"{block.place} has no language"


def test_a_part_of_a_configuration_is_accepted(tmp_path: Path) -> None:
    parts = [each for each in _blocks() if each.comment.startswith("not run: a part of a configuration")]
    for part in parts:
        file = tmp_path / "marketpipe.yaml"
        file.write_text(f"provider: synthetic\nsymbols: [AAPL]\nstart: latest\nend: latest\n{part.text}")
        assert load_config(file), part.place
    assert len(parts) >= 3


def test_no_block_escapes_the_tests_because_it_is_indented() -> None:
    for page in PAGES[2:]:
        assert not re.search(r"\n\n    \S", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)), name_of(
            page
        )


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT], ids=name_of)
def test_a_page_of_the_repository_leads_to_what_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    headings = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in re.findall(r"^#+ (.*)$", text, re.M)}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = link.partition("#")
        assert link.startswith("http") or (path and (ROOT / path).exists()) or anchor in headings, link


def test_every_file_that_a_page_names_exists() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:src|tests|config|schema|docs|benchmarks)/[\w/.-]+)`", page.read_text("utf-8")):
            assert (ROOT / path).exists() or (SOURCES / path).exists(), (name_of(page), path)


def test_every_command_and_option_that_a_page_names_exists() -> None:
    app = typer.main.get_command(app_for(COMMANDS))
    for page in PAGES:
        for words in re.findall(r"`marketpipe ((?:[a-z]+\b)[^`\n]*)`", page.read_text("utf-8")):
            name, *others = words.split()
            assert name in COMMANDS, (name_of(page), words)
            command = app.commands[name]  # type: ignore[attr-defined]
            while hasattr(command, "commands"):
                command = command.commands[others.pop(0)]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {each for each in others if each.startswith("--")} <= known, (name_of(page), words)
