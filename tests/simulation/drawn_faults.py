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
Counted = Mapping[str, int]
OF_UPDATES: Final[Counted] = {
    "open": 47,
    "stat": 150,
    "lstat": 54,
    "scandir": 60,
    "listdir": 18,
    "opened": 21,
    "read": 6,
    "fstat": 36,
    "write": 8,
    "fsync": 13,
    "replace": 7,
    "begin_to_store": 6,
    "utime": 6,
    "mkdir": 12,
    "unlink": 1,
    "flock": 24,
    "pread": 8,
    "pwrite": 9,
    "sql BEGIN": 14,
    "sql COMMIT": 14,
    "sql COMMITTED": 14,
    "sql INSERT": 12,
    "sql UPDATE": 8,
    "sql DELETE": 7,
    "sql SELECT": 53,
    "GET": 4,
}
OF_REPEATS: Final[Counted] = {
    "open": 15,
    "stat": 60,
    "lstat": 15,
    "scandir": 30,
    "listdir": 9,
    "opened": 8,
    "fstat": 8,
    "write": 2,
    "fsync": 2,
    "replace": 2,
    "begin_to_store": 2,
    "utime": 2,
    "mkdir": 2,
    "unlink": 1,
    "flock": 4,
    "sql BEGIN": 5,
    "sql COMMIT": 5,
    "sql COMMITTED": 5,
    "sql INSERT": 4,
    "sql UPDATE": 3,
    "sql SELECT": 27,
    "GET": 2,
}
OF_REMOVALS: Final[Counted] = {
    "open": 62,
    "stat": 84,
    "lstat": 120,
    "scandir": 51,
    "listdir": 28,
    "read": 28,
    "write": 14,
    "fsync": 20,
    "replace": 14,
    "begin_to_store": 14,
    "utime": 13,
    "link": 13,
    "rmdir": 7,
    "unlink": 17,
    "flock": 9,
    "mkdir": 6,
    "sql BEGIN": 14,
    "sql COMMIT": 14,
    "sql COMMITTED": 14,
    "sql INSERT": 14,
    "sql DELETE": 15,
    "sql SELECT": 12,
}
OF_RECOVERIES: Final[Counted] = {
    "open": 22,
    "stat": 27,
    "lstat": 74,
    "scandir": 31,
    "listdir": 57,
    "opened": 16,
    "read": 11,
    "replace": 1,
    "flock": 4,
    "mkdir": 2,
    "unlink": 1,
    "sql BEGIN": 5,
    "sql COMMIT": 5,
    "sql COMMITTED": 5,
    "sql INSERT": 4,
    "sql UPDATE": 3,
    "sql SELECT": 11,
}
OF_MAINTENANCE: Final[Counted] = {
    "open": 5,
    "stat": 25,
    "lstat": 8,
    "scandir": 9,
    "listdir": 20,
    "opened": 3,
    "write": 1,
    "fsync": 2,
    "replace": 1,
    "mkdir": 2,
    "flock": 3,
    "sql BEGIN": 3,
    "sql COMMIT": 3,
    "sql COMMITTED": 3,
    "sql INSERT": 3,
    "sql SELECT": 8,
}
OF_CHECKS: Final[Counted] = {
    "open": 15,
    "stat": 20,
    "lstat": 60,
    "scandir": 12,
    "listdir": 30,
    "read": 12,
    "fstat": 20,
    "mkdir": 1,
    "sql BEGIN": 1,
    "sql COMMIT": 1,
    "sql COMMITTED": 1,
    "sql SELECT": 30,
}
OF_LOADS: Final[Counted] = {
    "open": 12,
    "stat": 25,
    "lstat": 18,
    "scandir": 2,
    "listdir": 1,
    "opened": 6,
    "fstat": 4,
    "close": 5,
}
USUAL: Final[Mapping[str, Counted]] = {
    "update": OF_UPDATES,
    **dict.fromkeys(("ingest", "ingest retry", "audit", "audit adopt", "get"), OF_REPEATS),
    "drop": OF_REMOVALS,
    **dict.fromkeys(("recover", "recover force"), OF_RECOVERIES),
    **dict.fromkeys(("aggregate", "compact", "expand"), OF_MAINTENANCE),
    **dict.fromkeys(("verify", "verify lock", "freeze", "coverage", "status", "plan"), OF_CHECKS),
    **dict.fromkeys(("load", "load as of", "load aggregate", "load official", "validate"), OF_LOADS),
}
"""How many calls of a name a command usually makes, measured in worlds in which nothing goes wrong."""
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
MAY_FAIL: Final = (
    *("open", "write", "fsync", "replace", "mkdir", "utime", "unlink", "link", "begin_to_store"),
    *("scandir", "listdir", "stat", "lstat", "opened", "read"),
)
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
        return cls(random.choice((0.05, 0.2, 0.4)), is_calm=False)


def drawn_faults(random: Random, rates: FaultRates, command: str) -> tuple[Fault, ...]:
    """Return the faults of a command: nearly always none or one."""
    faults = list[Fault]()
    while random.random() < rates.of_commands and len(faults) < 3:
        faults += _drawn(random, command)
    return tuple(faults)


def _on_the_wire(random: Random, command: str) -> list[Fault]:
    """Return one fault, or sometimes others with it: a page that fails is worse if pages are small, or by time."""
    faults, usual = list[Fault](), USUAL[command]["GET"]
    while not faults or random.random() < 0.25:
        nth = random.randint(len(faults) + 1, len(faults) + usual) if random.random() < 0.6 else len(faults) + 1
        faults.append(Fault("wire", "GET", nth, random.choice(EXAMPLES)))
    return faults


def _drawn(random: Random, command: str) -> list[Fault]:
    if command in ASKING and random.random() < ON_THE_WIRE:
        return _on_the_wire(random, command)
    usual = USUAL[command]
    kinds = [kind for kind in KINDS if "commit" not in kind or "sql COMMIT" in usual]
    kind = random.choices(kinds, [KINDS[kind] for kind in kinds])[0]
    call = _call(random, kind, usual)
    detail = ""
    if kind == "pause":
        detail = str(random.choice((5, 90, 700, 2_000)))
    elif kind == "clock":
        detail = str(random.choice((-86_400, -3_600, -5, 60, 3_600, 86_400)))
    return [Fault(kind, call, random.randint(1, usual[call]), detail)]


def _call(random: Random, kind: str, usual: Mapping[str, int]) -> str:
    if kind in ("lost commit", "repeated commit"):
        return "sql COMMIT"
    if kind.startswith("errno"):
        return random.choice([name for name in MAY_FAIL if name in usual])
    names = [name for name in KILLED_AT if name in usual]
    return random.choices(names, [KILLED_AT[name] for name in names])[0]
