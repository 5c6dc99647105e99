"""``Counts``: what really happened in a world, so that a night can show which kinds of things it has tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby

from tests.simulation.outcome import Outcome
from tests.simulation.story import Fault, Step


class Counts:
    """``counted`` has a name of each kind of thing, as "group: kind: what became of it", and how often it happened."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def count(self, group: str, kind: str, what: str = "") -> None:
        self.counted[": ".join(word for word in (group, kind, what) if word)] += 1

    def add(self, outcome: Outcome) -> None:
        """Count a step, those beside it, and their faults: those whose call was not reached too."""
        for each in outcome.all():
            error = "" if each.error is None else f" {type(each.error).__name__}"
            self.count("step", each.step.kind, each.ended + error)
            self._add_faults(each.step, each.happened)

    def _add_faults(self, step: Step, happened: tuple[str, ...]) -> None:
        for fault in step.faults:
            self.count("fault", _kind_of(fault), "happened" if fault.text() in happened else "not reached")


def _kind_of(fault: Fault) -> str:
    detail = f" {fault.detail.split(' ', 1)[0]}" if fault.kind == "wire" and fault.detail else ""
    return f"{fault.kind}{detail} at {fault.call}"


def table(counted: Mapping[str, int]) -> str:
    """Return the counts as lines, by group."""
    lines = list[str]()
    for group, names in groupby(sorted(counted), key=lambda name: name.partition(": ")[0]):
        lines.append(f"{group}:")
        lines.extend(f"{counted[name]:>9} {name.partition(': ')[2]}" for name in names)
    return "\n".join(lines)
