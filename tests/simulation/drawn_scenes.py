"""Draws scenes: a few steps that only together meet a promise which each of them alone rarely meets."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import frozen

from tests.simulation.story import Fault


@frozen
class Part:
    """A step of a scene, without its number and moment."""

    kind: str
    what: dict[str, Any]
    faults: tuple[Fault, ...] = ()


def drawn_scene(random: Random, names: Sequence[str], recent: Sequence[str]) -> list[Part]:
    """Return the parts of a scene. ``recent`` are dates whose sessions are stored."""
    return _adopted_twice(random, random.choice(names), random.choice(recent))


def _adopted_twice(random: Random, symbol: str, date: str) -> list[Part]:
    """A correction is adopted by a process that is killed as readers begin to see it; then there is another one."""
    killed = Fault("kill", *random.choice(AT_ITS_END))
    again = random.choice(("audit adopt", "audit adopt", "ingest retry"))
    parts = [
        Part("corrected", {"symbol": symbol, "date": date, "bars": random.choice((1, 3))}),
        Part("audit adopt", {"symbols": symbol, "start": date}, (killed,)),
        Part("corrected", {"symbol": symbol, "date": date, "bars": random.choice((1, 3))}),
        Part(again, {"symbols": symbol, "start": date}),
    ]
    if random.random() < 0.3:
        parts.insert(2, Part("power loss", {}))
    return parts


AT_ITS_END = (
    *(("fsync", nth) for nth in (3, 4, 5, 6)),
    *(("sql COMMIT", nth) for nth in (7, 8, 9, 10, 11)),
    *(("sql COMMITTED", nth) for nth in (7, 8, 9, 10, 11)),
    *(("replace", nth) for nth in (1, 2)),
)
"""Calls around the moment at which an adopted day takes its place."""
