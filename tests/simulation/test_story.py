"""Stories are plain data."""

from __future__ import annotations

from pathlib import Path

from tests.simulation.story import Fault, Step, Story, SymbolTraits, Traits

BESIDE = Step(3, "2024-03-05T22:00:00Z", "load", {"as_of": "2024-03-04T22:00:00Z"})
UPDATE = Step(2, "2024-03-05T22:00:00Z", "update", faults=(Fault("kill", "sql COMMIT", 2),), beside=(BESIDE,))
STORY = Story(7, Traits(timeframes=("5m", "1d")), (SymbolTraits("AAPL", 5),), (Step(1, "2024-03-05", "idle"), UPDATE))


def test_a_story_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    (tmp_path / "story.json").write_text(STORY.to_json(), "utf-8")
    assert Story.read(tmp_path / "story.json") == STORY


def test_a_story_can_be_read() -> None:
    assert [*STORY.lines()][2:] == [
        "   1 2024-03-05 idle",
        "   2 2024-03-05T22:00:00Z update [kill at sql COMMIT 2] | beside: load as_of=2024-03-04T22:00:00Z",
    ]
