"""``Counts``: what really happened in a world, so that a night can show which kinds of things it has tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from attrs import fields_dict

from marketpipe.reports import CoverageReport
from tests.simulation.outcome import Outcome
from tests.simulation.story import Fault, Step, Story
from tests.simulation.traits import DiskTraits


class Counts:
    """``counted`` has a name of each kind of thing, as "group: kind: what became of it", and how often it happened."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def count(self, group: str, kind: str, what: str = "") -> None:
        self.counted[": ".join(word for word in (group, kind, what) if word)] += 1

    def begin(self, story: Story) -> None:
        """Count what was drawn for the whole of a story."""
        traits = story.traits
        for name in fields_dict(DiskTraits):
            self.count("disk", name, str(getattr(traits.disk, name)))
        for name in ("feed", "adjustment", "session", "copies", "workers", "confirmations", "patience"):
            self.count("traits", name, str(getattr(traits, name)))
        self.count("traits", "timeframes", "+".join(traits.timeframes) or "none")
        self.count("traits", "symbols", str(len(story.symbols)))
        self.count("traits", "faults", "some" if any(s.faults for step in story.steps for s in step.all()) else "none")

    def add(self, outcome: Outcome) -> None:
        """Count a step, those beside it, and their faults: those whose call was not reached too."""
        for each in outcome.all():
            error = "" if each.error is None else f" {type(each.error).__name__}"
            self.count("step", each.step.kind, each.ended + error)
            self._add_faults(each.step, each.happened)
            self._add_verdicts(each.value)
        if outcome.beside:
            self.count("beside", str(len(outcome.beside)))

    def checked(self, name: str, subjects: int) -> None:
        """Count one check of the oracle. ``subjects``: how many things it has looked at; one of none shows nothing."""
        self.count("check", name, "evaluated" if subjects else "nothing to look at")

    def lost(self, lines: Iterable[str]) -> None:
        """Count what a power loss has taken. ``lines`` are those of ``ModelledDisk.lose_power``."""
        for line in lines:
            of_content = line.startswith("content of ")
            what = line.rpartition(": ")[2] if of_content else line
            self.count("power loss", "content" if of_content else "entry", _kind_of_loss(what))

    def _add_verdicts(self, value: Any) -> None:
        if not isinstance(value, CoverageReport):
            return
        for symbol in value.symbols:
            for run in symbol.runs():
                suspicion = f"{run.finding.verdict}: {run.finding.suspicion}" if run.finding.suspicion else ""
                self.counted[f"verdict: {suspicion or run.finding.verdict}"] += run.sessions

    def _add_faults(self, step: Step, happened: tuple[str, ...]) -> None:
        for fault in step.faults:
            self.count("fault", _kind_of(fault), "happened" if fault.text() in happened else "not reached")


def _kind_of(fault: Fault) -> str:
    detail = f" {fault.detail.split(' ', 1)[0]}" if fault.kind == "wire" and fault.detail else ""
    return f"{fault.kind}{detail} at {fault.call}"


def _kind_of_loss(line: str) -> str:
    """Return the words before the first path or number: each loss has one of few kinds."""
    words = line.split(" ")
    at = next((i for i, word in enumerate(words) if word.startswith("/") or word.isdigit()), len(words))
    return " ".join(words[:at])


def table(counted: Mapping[str, int]) -> str:
    """Return the counts as lines, by group."""
    lines = list[str]()
    for group, names in groupby(sorted(counted), key=lambda name: name.partition(": ")[0]):
        lines.append(f"{group}:")
        lines.extend(f"{counted[name]:>9} {name.partition(': ')[2]}" for name in names)
    return "\n".join(lines)
