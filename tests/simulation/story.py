"""``Story``: everything that happens in one world, in order, as plain data that can be saved, edited and replayed."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from attrs import asdict, field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.exchange import all_sessions
from tests.simulation.rows import date_of
from tests.simulation.traits import DiskTraits, SymbolTraits, Traits

__all__ = ["DiskTraits", "Fault", "Step", "Story", "SymbolTraits", "Traits"]


@frozen
class Fault:
    """What goes wrong at the ``nth`` call (from 1) with this name, counted from the beginning of its step.

    ``kind`` is "kill", "stop", "pause" (``detail``: seconds), "clock" (jumps by ``detail`` seconds), "errno:EIO" (or
    another name of ``errno``), "lost commit", "repeated commit" or "wire"; ``call`` is "replace", "sql COMMIT", "GET"
    and so on; ``detail`` says more to whoever carries it out.
    """

    kind: str
    call: str
    nth: int
    detail: str = ""

    def text(self) -> str:
        return " ".join(word for word in (self.kind, self.detail, "at", self.call, str(self.nth)) if word)


@frozen
class Step:
    """One event: a command, a change of the market or of the machine, or people who wait.

    ``at`` is the earliest world time at which it begins, in RFC 3339. The steps ``beside`` it begin at the same time.
    """

    number: int
    at: str
    kind: str
    what: Mapping[str, Any] = field(factory=dict)
    faults: tuple[Fault, ...] = ()
    beside: tuple[Step, ...] = ()

    def text(self) -> str:
        said = " ".join(f"{name}={value}" for name, value in self.what.items())
        words = [self.kind, *([said] if said else []), *(f"[{fault.text()}]" for fault in self.faults)]
        return " ".join(words) + "".join(f" | beside: {step.text()}" for step in self.beside)

    def all(self) -> Iterator[Step]:
        yield self
        for step in self.beside:
            yield from step.all()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return the step that ``asdict`` has made plain."""
        faults = tuple(Fault(**fault) for fault in data.get("faults", ()))
        beside = tuple(cls.of(step) for step in data.get("beside", ()))
        return cls(data["number"], data["at"], data["kind"], dict(data.get("what", {})), faults, beside)


@frozen
class Story:
    """``seed`` draws what the steps leave open, each step by a generator of its own."""

    seed: int
    traits: Traits = field(factory=Traits)
    symbols: tuple[SymbolTraits, ...] = ()
    steps: tuple[Step, ...] = ()

    def lines(self) -> Iterator[str]:
        """Return the story as people read it: one line a step, after one of the traits and one of the symbols."""
        yield f"seed {self.seed}: {self.traits}"
        yield "symbols: " + ", ".join(map(str, self.symbols))
        yield from (f"{step.number:>4} day {self.day_of(step)}: {step.at} {step.text()}" for step in self.steps)

    def day_of(self, step: Step) -> int:
        """Return on which trading day of the story, from 1, a step is: an evening is on the day that has just ended."""
        dates = [*all_sessions()]
        first, date = (date_of(Timestamp.parse(at).epoch_micros) for at in (self.traits.begins, step.at))
        return bisect_right(dates, date) - bisect_left(dates, first)

    def text(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        data = json.loads(text)
        traits = dict(data["traits"])
        disk = DiskTraits(**traits.pop("disk", {}))
        listed = {name: tuple(value) if isinstance(value, list) else value for name, value in traits.items()}
        symbols = tuple(SymbolTraits(**symbol) for symbol in data["symbols"])
        return cls(data["seed"], Traits(disk, **listed), symbols, tuple(Step.of(step) for step in data["steps"]))

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.from_json(path.read_text("utf-8"))
