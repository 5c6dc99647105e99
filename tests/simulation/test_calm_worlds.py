"""In worlds in which nothing goes wrong, every command says that all is well, and no check complains."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.simulation.drawing import drawn
from tests.simulation.outcome import Outcome
from tests.simulation.story import Story
from tests.simulation.world import World

KEPT = ("update", "ingest", "verify", "coverage", "load", "load as of", "load official", "audit", "freeze", "plan")


def calm(seed: int, feed: str) -> Story:
    """Return the story of a seed without faults, events, changes and commands that run beside others.

    Each day begins with its update, of all symbols: before it, a session is missing.
    """
    story = drawn(seed, 20)
    steps = [
        evolve(step, faults=(), beside=(), what={} if step.kind == "update" else step.what)
        for step in story.steps
        if step.kind in KEPT and step.at[11:13] < "06"
    ]
    steps.sort(key=lambda step: (step.at[:10], step.kind != "update"))
    return evolve(story, steps=tuple(steps), traits=evolve(story.traits, skew=0.0, feed=feed))


def outcomes_of(story: Story) -> list[Outcome]:
    world = World(story)
    try:
        for step in story.steps:
            world.carry_out(step)
            assert not world.check("step")
        assert not world.check("day")
    finally:
        world.close()
    return world.outcomes


@pytest.mark.parametrize(("seed", "feed"), [(1, "sip"), (2, "iex")])
def test_all_is_well_in_a_calm_world(seed: int, feed: str) -> None:
    for outcome in outcomes_of(calm(seed, feed)):
        assert outcome.ended == "returned", outcome
        assert getattr(outcome.value, "ok", True), (outcome.step, outcome.value)
