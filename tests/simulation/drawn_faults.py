"""Draws what goes wrong in a command: which call of the machine fails, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from attrs import frozen

from tests.simulation.story import Fault
from tests.simulation.usual_calls import Counted, Usual, usual_calls
from tests.simulation.wire_faults import EXAMPLES

ASKING: Final = frozenset(["ingest", "ingest retry", "update", "audit", "audit adopt", "get"])
"""Commands that ask the provider."""
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
NEVER: Final = Usual(0, 0)
ON_THE_WIRE: Final = 0.45
"""Of the faults of commands that ask the provider."""
REQUESTED_AGAIN: Final = frozenset(
    ["page", "by-time", "burst", "timeout-before", "timeout-after", "connect", "cut", "too-many"]
)
"""Faults of the wire after which there are more requests than usual: for smaller pages, or for the same one again."""
MAY_FAIL: Final = (
    *("open", "write", "fsync", "replace", "mkdir", "utime", "unlink", "link", "begin_to_store"),
    *("scandir", "listdir", "stat", "lstat", "opened", "read"),
)
DEEP: Final = 0.05
"""So many faults are at a late call, which about half of such commands make."""
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


def drawn_faults(
    random: Random, rates: FaultRates, command: str, *, is_first: bool = False, symbols: int = 1
) -> tuple[Fault, ...]:
    """Return the faults of a command: nearly always none or one. The others tell how many calls it makes."""
    faults, usual = list[Fault](), usual_calls(command, is_first=is_first, symbols=symbols)
    rate = rates.of_commands
    while random.random() < rate and len(faults) < 3:
        faults += [fault for fault in _drawn(random, command, usual) if _may_follow(random, fault, faults)]
        rate /= 2
    return tuple(faults)


def _may_follow(random: Random, fault: Fault, others: Sequence[Fault]) -> bool:
    """Return whether both are likely to happen: one call has one fault, and a command that is killed calls no more."""
    is_end = fault.kind == "kill" or any(other.kind == "kill" for other in others)
    if others and is_end and random.random() < 0.8:
        return False
    return all((fault.call, fault.nth) != (other.call, other.nth) for other in others)


def _on_the_wire(random: Random, usual: Counted) -> list[Fault]:
    """Return one fault, or sometimes others after one that lets the client request more.

    A page that fails is worse if pages are small, or by time.
    """
    nth = _nth(random, usual["GET"]) if random.random() < 0.6 else 1
    faults = [Fault("wire", "GET", nth, random.choice(EXAMPLES))]
    while faults[-1].detail.split(" ")[0] in REQUESTED_AGAIN and random.random() < 0.5:
        nth += random.choice((1, 1, 2))
        faults.append(Fault("wire", "GET", nth, random.choice(EXAMPLES)))
    return faults


def _drawn(random: Random, command: str, usual: Counted) -> list[Fault]:
    if command in ASKING and usual.get("GET", NEVER).sure and random.random() < ON_THE_WIRE:
        return _on_the_wire(random, usual)
    kinds = [kind for kind in KINDS if "commit" not in kind or usual.get("sql COMMIT", NEVER).sure]
    kind = random.choices(kinds, [KINDS[kind] for kind in kinds])[0]
    call = _call(random, kind, usual)
    detail = ""
    if kind == "pause":
        detail = str(random.choice((5, 90, 700, 2_000)))
    elif kind == "clock":
        detail = str(random.choice((-86_400, -3_600, -5, 60, 3_600, 86_400)))
    return [Fault(kind, call, _nth(random, usual[call]), detail)]


def _nth(random: Random, usual: Usual) -> int:
    return random.randint(1, usual.deep if random.random() < DEEP or not usual.sure else usual.sure)


def _call(random: Random, kind: str, usual: Counted) -> str:
    if kind in ("lost commit", "repeated commit"):
        return "sql COMMIT"
    wanted = dict.fromkeys(MAY_FAIL, 1.0) if kind.startswith("errno") else KILLED_AT
    is_deep = random.random() < DEEP
    names = [name for name in wanted if name in usual and (is_deep or usual[name].sure)]
    return random.choices(names, [wanted[name] for name in names])[0]
