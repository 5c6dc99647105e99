"""Runs lint-imports with the project's contracts over any copy of the package."""

from __future__ import annotations

import re
import shutil
from configparser import ConfigParser
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.support.json_server import shared

PROJECT: Final = Path(__file__).parents[2]
SOURCES: Final = PROJECT / "src"
CONTRACTS: Final = PROJECT / ".importlinter"

_VERDICT = re.compile(r"^(\d[a-z]?)\. .* (KEPT|BROKEN)(?: \((\d+) ignored imports?\))?$", re.MULTILINE)


@frozen
class LintRun:
    """Contracts go by their numbers: "1", "4a" …"""

    passed: bool
    judged: frozenset[str]
    broken: frozenset[str]
    ignored_imports: dict[str, int]
    report: str


def lint(folder: Path) -> LintRun:
    """Judges the package ``marketpipe`` that lies in ``folder``, and no other that is installed."""
    answer = shared("lint_server").ask(folder=str(folder), contracts=str(CONTRACTS))
    verdicts = _VERDICT.findall(answer["report"])
    return LintRun(
        passed=answer["code"] == 0,
        judged=frozenset(number for number, _, _ in verdicts),
        broken=frozenset(number for number, verdict, _ in verdicts if verdict == "BROKEN"),
        ignored_imports={number: int(count) for number, _, count in verdicts if count},
        report=answer["report"],
    )


def copy_of_the_package(folder: Path) -> Path:
    return shutil.copytree(
        SOURCES / "marketpipe", folder / "marketpipe", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )


def contracts() -> dict[str, dict[str, str]]:
    """What .importlinter says of each contract, by its number."""
    file = ConfigParser()
    file.read_string(CONTRACTS.read_text("utf-8"))
    sections = [dict(file[name]) for name in file.sections() if name.startswith("importlinter:")]
    return {section["name"].partition(".")[0]: section for section in sections}
