"""Levels of trade: changes that last, and minutes that a session surely has."""

from __future__ import annotations

from random import Random

from marketpipe.ingestion.domain.coverage.minutes.levels import Levels, lacks_sure_minutes

LENGTH = 390
FULL = (1 << LENGTH) - 1


def profile(bars: int, seed: int = 0) -> int:
    return sum(1 << minute for minute in Random(f"{bars} {seed}").sample(range(LENGTH), bars))


def changed(bars: list[int]) -> list[int]:
    """Return the positions after a lasting change."""
    profiles = [profile(count, position) for position, count in enumerate(bars)]
    found = Levels(profiles, [LENGTH] * len(bars)).lasting_changes([False] * len(bars))
    return [position for position, _ in found]


def test_a_drop_from_one_session_to_the_next_lasts_until_the_level_is_back() -> None:
    assert changed([300] * 10 + [20] * 5 + [300] * 5) == [10, 11, 12, 13, 14]


def test_a_level_that_sinks_step_by_step_is_no_change() -> None:
    assert changed([300] * 10 + [130, 15, *[15] * 6]) == []


def test_too_few_sessions_around_one_show_no_minute_that_it_should_have() -> None:
    half, few, many = FULL >> 200, 4, 6
    assert not lacks_sure_minutes(0, [half, *[FULL] * (few - 1)], [LENGTH] * few, 0.0)
    assert lacks_sure_minutes(0, [half, *[FULL] * (many - 1)], [LENGTH] * many, 0.0)
