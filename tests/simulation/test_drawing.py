"""A seed draws one story, and all kinds of things occur in stories."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.simulation.changes import CHANGES
from tests.simulation.drawing import CALM_DAYS, CHANGES_FILES, drawn
from tests.simulation.drawn_faults import KINDS
from tests.simulation.drawn_scenes import AT_ITS_END
from tests.simulation.machine_events import EVENTS
from tests.simulation.people import COMMANDS
from tests.simulation.story import Fault, Step, Story
from tests.simulation.usual_calls import usual_calls
from tests.simulation.wire_faults import EXAMPLES

SEEDS = range(100)
SCENE = [Fault("kill", call, nth) for call, nth in AT_ITS_END]


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return [drawn(seed, 150) for seed in SEEDS]


def steps_of(stories: list[Story]) -> list[Step]:
    return [each for story in stories for step in story.steps for each in step.all()]


def test_a_seed_draws_the_same_story_each_time_and_another_seed_another_one() -> None:
    assert drawn(7, 60) == drawn(7, 60) != drawn(8, 60)


def test_a_story_is_plain_data() -> None:
    for seed in range(20):
        assert Story.from_json(drawn(seed, 60).to_json()) == drawn(seed, 60)


def test_steps_come_in_order_and_each_has_a_number_of_its_own(stories: list[Story]) -> None:
    for story in stories:
        assert [step.at for step in story.steps] == sorted(step.at for step in story.steps)
        numbers = [each.number for step in story.steps for each in step.all()]
        assert len(numbers) == len(set(numbers))


def test_200_weeks_have_each_kind_of_step_and_fault(stories: list[Story]) -> None:
    steps = steps_of(stories)
    kinds = {step.kind for step in steps}
    assert kinds == {*COMMANDS, *CHANGES, *EVENTS}
    faults = [fault for step in steps for fault in step.faults]
    assert {fault.kind for fault in faults} == {*KINDS, "wire"}
    assert {fault.detail for fault in faults if fault.kind == "wire"} == {*EXAMPLES}
    assert any(len(step.beside) > 1 for step in steps)


def test_a_story_has_about_as_many_steps_as_wanted_and_ends_with_calm_days(stories: list[Story]) -> None:
    for story in stories:
        assert 140 < len(story.steps) < 175
        last = story.steps[-2 * CALM_DAYS :]
        assert [step.kind for step in last][::2] == ["update"] * CALM_DAYS
        assert not [fault for step in last for fault in step.faults]


def test_each_session_has_an_update(stories: list[Story]) -> None:
    for story in stories:
        evenings = {step.at[:10] for step in story.steps if step.at[11:13] < "06" and step.number > 3}
        assert evenings == {step.at[:10] for step in story.steps if step.kind == "update" and step.at[:10] in evenings}


def test_some_stories_are_calm_and_faults_are_in_about_as_many_commands_as_their_rate_says(
    stories: list[Story],
) -> None:
    with_faults = [story for story in stories if any(each.faults for step in story.steps for each in step.all())]
    assert 70 <= len(with_faults) <= 98


def test_faults_are_drawn_at_calls_that_their_commands_make(stories: list[Story]) -> None:
    for step in (step for step in steps_of(stories) if step.faults):
        first, later = (usual_calls(step.kind, is_first=is_first, symbols=4) for is_first in (True, False))
        alone = usual_calls(step.kind, is_first=True, symbols=1)
        for fault in step.faults:
            if fault not in SCENE and fault.kind not in ("wire", "pause"):
                assert fault.nth <= max(
                    calls[fault.call].deep for calls in (first, later, alone) if fault.call in calls
                )


def test_each_command_has_calls_that_it_surely_makes() -> None:
    for kind in COMMANDS:
        for is_first in (True, False):
            assert any(usual.sure for usual in usual_calls(kind, is_first=is_first, symbols=1).values())


def test_stories_have_moments_that_are_rare_by_chance(stories: list[Story]) -> None:
    pairs = {(one.kind, other.kind) for story in stories for one, other in pairwise(story.steps)}
    assert {(kind, "power loss") for kind in CHANGES_FILES} <= pairs
    steps = steps_of(stories)
    assert any(fault in SCENE for step in steps if step.kind == "audit adopt" for fault in step.faults)
    assert any(step.what.get("end") == step.at[:10] for step in steps if step.kind == "ingest")
    assert any(step.kind == "compact" for story in stories for step in story.steps if is_old(story))
    assert any(fault.kind == "pause" for step in steps if step.beside for fault in step.faults)


def is_old(story: Story) -> bool:
    """Return whether a month has ended before the story begins."""
    return story.traits.start[:7] < story.traits.begins[:7]
