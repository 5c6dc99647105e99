"""A seed draws one story, and all kinds of things occur in stories."""

from __future__ import annotations

import pytest

from tests.simulation.changes import CHANGES
from tests.simulation.drawing import CALM_DAYS, drawn
from tests.simulation.drawn_faults import KINDS
from tests.simulation.machine_events import EVENTS
from tests.simulation.people import COMMANDS
from tests.simulation.story import Step, Story
from tests.simulation.wire_faults import EXAMPLES

SEEDS = range(100)


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
