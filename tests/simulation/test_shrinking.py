"""A failing story becomes short, and stays one that fails in the same way."""

from __future__ import annotations

from attrs import evolve

from tests.simulation.running import Result
from tests.simulation.shrinking import Shrinker
from tests.simulation.story import Fault, Step, Story
from tests.simulation.traits import SymbolTraits, Traits

KILL = Fault("kill", "replace", 8)
STORY = Story(
    5,
    Traits(patience=0.5, workers=3, timeframes=("5m",)),
    tuple(SymbolTraits(name) for name in ("AAA", "BBB", "CCC")),
    tuple(Step(n, f"2024-03-{n + 1:02}T22:00:00Z", "withdraw" if n == 4 else "update") for n in range(20)),
)


def result_of(story: Story, failures: tuple[str, ...], step: int = 0) -> Result:
    return Result(story, failures, step, 0, 0, "", 0.0)


def withdrawn_then_killed(story: Story) -> Result:
    """Fail in "lost" if a killed update follows the withdrawal, and in another check if nothing is left."""
    withdrawn = next((step.number for step in story.steps if step.kind == "withdraw"), None)
    for step in story.steps:
        if withdrawn is not None and step.number > withdrawn and any(fault.kind == "kill" for fault in step.faults):
            return result_of(story, ("lost: a bar",), step.number)
    return result_of(story, () if story.steps else ("ends: at once",))


def with_step(story: Story, step: Step) -> Story:
    return evolve(story, steps=tuple(step if other.number == step.number else other for other in story.steps))


def shrunk(story: Story, most_runs: int = 500) -> Story:
    failed = withdrawn_then_killed(story)
    assert failed.failures
    return Shrinker(withdrawn_then_killed, most_runs=most_runs).shrunk(failed).story


def test_only_what_the_failure_needs_is_left() -> None:
    other = Fault("errno:EIO", "fsync", 3)
    story = shrunk(with_step(STORY, evolve(STORY.steps[12], faults=(other, KILL))))
    assert [(step.number, step.kind) for step in story.steps] == [(4, "withdraw"), (12, "update")]
    assert story.steps[1].faults == (evolve(KILL, nth=1),)
    assert len(story.symbols) == 1
    assert story.traits == Traits(patience=1.0)


def test_of_commands_side_by_side_the_guilty_one_is_left_alone() -> None:
    beside = (Step(121, "2024-03-13T22:00:00Z", "update", faults=(KILL,)), Step(122, "2024-03-13T22:00:00Z", "verify"))
    guilty = evolve(STORY.steps[12], kind="load", beside=beside)

    def run(story: Story) -> Result:
        flat = tuple(other for step in story.steps for other in step.all())
        return evolve(withdrawn_then_killed(evolve(story, steps=flat)), story=story, step=len(STORY.steps))

    story = Shrinker(run, most_runs=500).shrunk(run(with_step(STORY, guilty))).story
    assert [(step.kind, len(step.beside)) for step in story.steps] == [("withdraw", 0), ("update", 0)]


def test_it_ends_after_so_many_runs() -> None:
    runs = list[Story]()

    def run(story: Story) -> Result:
        runs.append(story)
        return withdrawn_then_killed(story)

    failed = withdrawn_then_killed(with_step(STORY, evolve(STORY.steps[12], faults=(KILL,))))
    Shrinker(run, most_runs=10).shrunk(failed)
    assert len(runs) == 10
