"""The example of README.md is typed, and runs; the pages about providers and verdicts leave out no name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docs.generate import picture

from marketpipe import Evidence, Suspicion, Verdict, testing
from tests.support.child_processes import run
from tests.support.cli_process import environment
from tests.support.documented_pages import ROOT, block_for
from tests.support.examples import thoroughly

EXAMPLE = block_for("tests/e2e/test_readme.py", "example")
PROVIDERS = (ROOT / "docs" / "how-to" / "write-a-provider.md").read_text("utf-8")
COMPLETENESS = (ROOT / "docs" / "explanation" / "completeness.md").read_text("utf-8")


def test_the_library_example_runs_as_it_stands(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", EXAMPLE], cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"completed \d+ \{\}\n", done.stdout)


@thoroughly
def test_the_library_example_satisfies_a_strict_type_checker(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE)
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "example.py")]
    done = run(command, cwd=ROOT)  # where the lint keeps what it knows of our modules
    assert done.returncode == 0, done.stdout


def test_every_name_of_the_testing_kit_is_explained_but_for_types_of_others() -> None:
    types = {"Answer", "BarRow", "Connection", "Fault", "RecordedExchange"}
    assert {name for name in testing.__all__ if not re.search(rf"\b{name}\b", PROVIDERS)} == types


def test_every_verdict_suspicion_and_evidence_is_explained() -> None:
    for verdict in Verdict:
        assert f"\n| {verdict} |" in COMPLETENESS
    for name in (*Suspicion, *Evidence, Evidence.NOTHING):
        assert f"`{name}`" in COMPLETENESS.replace("`file\n  not recorded`", "`file not recorded`"), name


def test_the_picture_makes_no_request_and_shows_commands_that_exist() -> None:
    drawn = picture.PICTURE.read_text("utf-8")
    assert re.findall(r"https?://[^\"\s]+", drawn) == ["http://www.w3.org/2000/svg"]
    shown = " ".join(picture.words_of(drawn))
    assert all(f"$ {command}" in shown for command in picture.COMMANDS), shown[:300]
