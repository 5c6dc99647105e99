"""Stories are plain data."""

from __future__ import annotations

from pathlib import Path

from tests.simulation.story import Fault, Step, Story, SymbolTraits, Traits

BESIDE = Step(3, "2024-03-05T22:00:00Z", "load", {"as_of": "2024-03-04T22:00:00Z"})
UPDATE = Step(2, "2024-03-05T22:00:00Z", "update", faults=(Fault("kill", "sql COMMIT", 2),), beside=(BESIDE,))
TRAITS = Traits(timeframes=("5m", "1d"), begins="2024-03-01T06:00:00Z")
STORY = Story(7, TRAITS, (SymbolTraits("AAPL", 5),), (Step(1, "2024-03-02T01:30:00Z", "idle"), UPDATE))


def test_a_story_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    (tmp_path / "story.json").write_text(STORY.to_json(), "utf-8")
    assert Story.read(tmp_path / "story.json") == STORY


def test_a_story_tells_the_trading_days() -> None:
    assert [*STORY.lines()][2:] == [
        "   1 day 1: 2024-03-02T01:30:00Z idle",
        "   2 day 3: 2024-03-05T22:00:00Z update [kill at sql COMMIT 2] | beside: load as_of=2024-03-04T22:00:00Z",
    ]
