"""Each command of a story calls the product as a user would, with what its step names."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.outcome import Outcome
from tests.simulation.people import COMMANDS, last_lock
from tests.simulation.story import Step, Story, SymbolTraits

NOW = Timestamp.parse("2024-03-06T02:00:00Z")


@define
class FakeWorld:
    story: Story = field(factory=lambda: Story(1, symbols=(SymbolTraits("AAA"), SymbolTraits("BBB"))))
    outcomes: list[Outcome] = field(factory=list)


@define
class Recorded:
    """Notes the call of any method."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(factory=list)

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: self.calls.append((name, given, named))


def called(kind: str, world: FakeWorld | None = None, **what: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    pipeline = Recorded()
    COMMANDS[kind](world or FakeWorld(), pipeline, Step(1, str(NOW), kind, what))
    (call,) = pipeline.calls
    return call


EVERYTHING = (["AAA", "BBB"], "2024-03-04", "latest")


@pytest.mark.parametrize("kind", COMMANDS)
def test_each_command_calls_one_method(kind: str) -> None:
    assert called(kind)[0] == kind.split(" ")[0].replace("expand", "compact")


def test_a_command_takes_all_symbols_from_the_first_date_on_unless_its_step_names_others() -> None:
    assert called("ingest") == ("ingest", EVERYTHING, {})
    assert called("audit adopt", symbols="BBB", start="2024-03-05", end="2024-03-06") == (
        "audit",
        (["BBB"], "2024-03-05", "2024-03-06"),
        {"adopt": True},
    )


def test_a_load_has_the_form_that_its_step_names() -> None:
    form = {"complete": "ignore", "source": "official"}
    assert called("load official", timeframe="1d", source="official") == ("load", (*EVERYTHING, "1d"), form)


def test_a_lock_is_verified_that_was_made_last() -> None:
    world = FakeWorld()
    assert last_lock(world) is None
    for lock in ("first", "second", None):
        world.outcomes.append(Outcome(Step(1, str(NOW), "freeze"), "returned", NOW, NOW, value=lock))
    assert called("verify lock", world) == ("verify", (), {"lock": "second"})
