"""Draws what goes wrong in a command: which call of the machine fails, and how."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from attrs import frozen

from tests.simulation.story import Fault
from tests.simulation.wire_faults import EXAMPLES

ASKING: Final = frozenset(["ingest", "ingest retry", "update", "audit", "audit adopt", "get"])
"""Commands that ask the provider."""
WRITING: Final = ASKING - {"audit"} | {"aggregate", "compact", "expand", "drop", "recover", "recover force"}

CALLS_OF_WRITERS: Final[Mapping[str, int]] = {
    "open": 36,
    "write": 14,
    "fsync": 20,
    "replace": 9,
    "stat": 45,
    "lstat": 22,
    "scandir": 6,
    "mkdir": 11,
    "utime": 7,
    "close": 30,
    "flock": 30,
    "pread": 14,
    "pwrite": 15,
    "begin_to_store": 8,
    "unlink": 1,
    "fstat": 16,
    "sql BEGIN": 15,
    "sql COMMIT": 15,
    "sql COMMITTED": 15,
    "sql INSERT": 14,
    "sql UPDATE": 15,
    "sql SELECT": 80,
}
"""How many calls of a name a command usually makes that writes to a store of two symbols. Measured."""
CALLS_OF_READERS: Final[Mapping[str, int]] = {
    "stat": 15,
    "open": 8,
    "mkdir": 2,
    "close": 6,
    "flock": 3,
    "scandir": 6,
    "fstat": 4,
    "sql BEGIN": 2,
    "sql COMMIT": 2,
    "sql COMMITTED": 2,
    "sql SELECT": 40,
    "sql INSERT": 2,
}
REQUESTS: Final = 6
KINDS: Final[Mapping[str, float]] = {
    "kill": 5,
    "stop": 1,
    "pause": 0.7,
    "clock": 0.5,
    "lost commit": 1.2,
    "repeated commit": 1.2,
    "errno:EIO": 1.5,
    "errno:ENOSPC": 1,
    "errno:EACCES": 0.6,
    "errno:EROFS": 0.3,
}
"""What goes wrong besides the wire, and how often."""
ON_THE_WIRE: Final = 0.45
"""Of the faults of commands that ask the provider."""
MAY_FAIL: Final = ("open", "write", "fsync", "replace", "mkdir", "scandir", "stat", "utime", "unlink", "begin_to_store")
KILLED_AT: Final[Mapping[str, float]] = {
    "replace": 4,
    "fsync": 3,
    "write": 2,
    "sql COMMIT": 3,
    "sql COMMITTED": 3,
    "open": 2,
    "utime": 1,
    "unlink": 1,
    "begin_to_store": 1,
    "mkdir": 1,
    "stat": 1,
    "pwrite": 0.5,
    "sql INSERT": 0.5,
    "sql UPDATE": 0.5,
    "flock": 0.5,
}


@frozen
class FaultRates:
    """How often a command of a story has a fault. In a calm story none ever has, and nothing happens to the machine."""

    of_commands: float = 0.0
    is_calm: bool = True

    @classmethod
    def drawn(cls, random: Random) -> FaultRates:
        if random.random() < 0.15:
            return cls()
        return cls(random.choice((0.05, 0.15, 0.35)), is_calm=False)


def drawn_faults(random: Random, rates: FaultRates, command: str) -> tuple[Fault, ...]:
    """Return the faults of a command: nearly always none or one."""
    faults = list[Fault]()
    while random.random() < rates.of_commands and len(faults) < 3:
        faults.append(_drawn(random, command))
    return tuple(faults)


def _drawn(random: Random, command: str) -> Fault:
    if command in ASKING and random.random() < ON_THE_WIRE:
        return Fault("wire", "GET", random.randint(1, REQUESTS), random.choice(EXAMPLES))
    kind = random.choices([*KINDS], [*KINDS.values()])[0]
    usual = CALLS_OF_WRITERS if command in WRITING else CALLS_OF_READERS
    call = _call(random, kind, usual)
    detail = ""
    if kind == "pause":
        detail = str(random.choice((5, 90, 700, 2_000)))
    elif kind == "clock":
        detail = str(random.choice((-86_400, -3_600, -5, 60, 3_600, 86_400)))
    return Fault(kind, call, random.randint(1, usual[call]), detail)


def _call(random: Random, kind: str, usual: Mapping[str, int]) -> str:
    if kind in ("lost commit", "repeated commit"):
        return "sql COMMIT"
    if kind.startswith("errno"):
        return random.choice([name for name in MAY_FAIL if name in usual])
    names = [name for name in KILLED_AT if name in usual]
    return random.choices(names, [KILLED_AT[name] for name in names])[0]
