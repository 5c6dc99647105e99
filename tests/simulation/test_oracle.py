"""A calm world keeps all promises, and each check finds something to look at in it."""

from __future__ import annotations

from typing import Final

from tests.simulation.running import run
from tests.simulation.story import Step, Story, SymbolTraits, Traits

EVENINGS: Final = ("2024-03-05", "2024-03-06", "2024-03-07", "2024-03-08")
COMMANDS: Final = {
    "2024-03-05": ("update", "verify", "coverage", "load"),
    "2024-03-06": ("update", "freeze", "audit", "ingest"),
    "2024-03-07": ("update", "verify lock", "compact", "audit adopt"),
    "2024-03-08": ("update", "expand", "recover force", "ingest retry", "load as of"),
}
CHECKS: Final = {
    *("invented", "twice", "lost", "as of", "verify", "lock", "aggregate", "official", "verdict"),
    *("rate", "lease", "ends", "leftovers", "heals"),
}


def calm_story(seed: int) -> Story:
    kinds = [(date, hour, kind) for date in EVENINGS for hour, kind in enumerate(COMMANDS[date])]
    what = {"load as of": {"as_of": "2024-03-06T12:00:00Z"}}
    steps = (
        Step(number, f"{date}T{2 + hour:02d}:00:00Z", kind, what.get(kind, {}))
        for number, (date, hour, kind) in enumerate(kinds, 1)
    )
    symbols = SymbolTraits("AAA"), SymbolTraits("BBB", minutes=30, price=20.0)
    return Story(seed, Traits(session="extended", timeframes=("5m", "1d"), workers=2), symbols, tuple(steps))


def test_a_calm_world_keeps_all_promises() -> None:
    result = run(calm_story(7))
    assert result.failures == ()
    evaluated = {name.split(": ")[1] for name in result.counts if name.endswith(": evaluated")}
    assert evaluated >= CHECKS
