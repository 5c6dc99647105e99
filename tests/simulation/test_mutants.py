"""The mutants still apply to today's sources; ``make mutants`` shows that the oracle finds them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.mutants.__main__ import ATTACKS_PROMISED, MUTANTS, SABOTAGE_PROMISED
from tests.simulation.mutants.attacks import ATTACKS
from tests.simulation.mutants.mutant import SOURCES, Mutant, change
from tests.simulation.mutants.sabotage import SABOTAGE
from tests.simulation.mutants.telling import lines_of, told
from tests.simulation.story import Fault, Story


def test_each_mutant_changes_texts_that_are_in_the_sources_exactly_once() -> None:
    assert [problem for mutant in MUTANTS for problem in mutant.problems()] == []


def test_each_mutant_has_a_name_of_its_own_and_a_story_or_a_reason() -> None:
    assert [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1] == []
    assert [
        each.name for each in MUTANTS if bool(each.story) is bool(each.unseen) or bool(each.by) is bool(each.unseen)
    ] == []


def test_there_are_as_many_as_promised() -> None:
    assert len({each.attack for each in ATTACKS if each.story}) >= ATTACKS_PROMISED
    assert sum(each.story is not None for each in SABOTAGE) >= SABOTAGE_PROMISED


def test_the_page_says_how_many_there_are() -> None:
    page = (SOURCES.parent / "docs" / "explanation" / "simulation.md").read_text("utf-8")
    _, _, table = page.partition("| mistakes in | mutants | for example |")
    counts = re.findall(r"^\| [^|]+ \| (\d+)[^|]* \| ([^|]+) \|$", table, re.MULTILINE)[:8]
    assert sum(int(count) for count, _ in counts) == sum(mutant.story is not None for mutant in MUTANTS)
    assert {example for _, example in counts} <= {mutant.name for mutant in MUTANTS}


def test_a_text_that_is_no_longer_there_is_an_error(tmp_path: Path) -> None:
    mutant = Mutant("nothing is there", change("store.py", "a text that nobody wrote", ""))
    with pytest.raises(ValueError, match="has this text 0 times"):
        mutant.write(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_mutant_is_a_copy_with_its_changes(tmp_path: Path) -> None:
    mutant = Mutant("verify is another", change("verifying.py", "def _verified(", "def _other("))
    mutant.write(tmp_path)
    assert "def _other(" in (tmp_path / "marketpipe" / "verifying.py").read_text("utf-8")
    assert (tmp_path / "marketpipe" / "parts.py").is_file()


def test_a_story_is_told_in_lines() -> None:
    story = told(
        """
        2024-03-06 01:31 update [kill at sql COMMIT 9] [wire lie even at GET 1] | beside: load as_of=2024-03-06
        corrected symbol=AAPL date=2024-03-05 bars=2
        ingest [lost commit at sql COMMIT 2]
        """,
        "AAPL",
        workers=2,
    )
    first, second, third = story.steps
    assert first.faults == (Fault("kill", "sql COMMIT", 9), Fault("wire", "GET", 1, "lie even"))
    assert (first.beside[0].kind, first.beside[0].what) == ("load", {"as_of": "2024-03-06"})
    assert (second.at, second.kind, second.what["bars"]) == ("2024-03-06T01:32:00Z", "corrected", 2)
    assert (third.faults[0].kind, third.number) == ("lost commit", 4)
    assert Story.from_json(story.to_json()) == story
    again = told("\n".join(lines_of(story).splitlines()[1:]), "AAPL", workers=2)
    assert again == story
