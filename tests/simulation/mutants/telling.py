"""``told``: a story from lines as people read it, and ``lines_of``: the lines of a story that a seed has drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any, Final

from attrs import evolve

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.story import Fault, Step, Story
from tests.simulation.traits import DiskTraits, SymbolTraits, Traits

MOMENT: Final = re.compile(r"(\d\d\d\d-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?) ")
SAID: Final = re.compile(r" (\w+)=(\S+)")
FAULT: Final = re.compile(r"\[([^\]]+) at ([^\]]+) (\d+)\]")
BESIDE: Final = " | beside: "
TWO_WORDS: Final = ("lost commit", "repeated commit")
FIRST_MOMENT: Final = "2024-03-05T12:00:00Z"
TRAITS: Final = Traits(begins=FIRST_MOMENT, start="2024-03-05")
"""Users begin on a Tuesday in March; ``told`` changes what a story needs otherwise."""


def told(
    text: str, *symbols: SymbolTraits | str, seed: int = 1, disk: DiskTraits | None = None, **traits: Any
) -> Story:
    """Return a story of steps as ``Step.text`` writes them, one a line.

    A line may begin with a moment, like "2024-03-06 01:31 "; without one it is a minute after the line before.
    ``symbols`` are those of the market, AAPL if none is named.
    """
    named = tuple(SymbolTraits(each) if isinstance(each, str) else each for each in symbols or ("AAPL",))
    chosen = evolve(TRAITS, disk=disk or DiskTraits(), **traits)
    return Story(seed, chosen, named, tuple(_steps(text, Timestamp.parse(chosen.begins))))


def _steps(text: str, moment: Timestamp) -> Iterator[Step]:
    numbers = count(1)
    for line in filter(None, map(str.strip, text.splitlines())):
        found = MOMENT.match(line)
        moment = Timestamp.parse(f"{found[1]}T{found[2]}Z") if found else moment.plus(timedelta(minutes=1))
        first, *others = line[found.end() if found else 0 :].split(BESIDE)
        step = _step(next(numbers), moment, first)
        yield evolve(step, beside=tuple(_step(next(numbers), moment, other) for other in others))


def _step(number: int, moment: Timestamp, text: str) -> Step:
    words, faults = FAULT.sub("", text).rstrip(), tuple(_fault(*each) for each in FAULT.findall(text))
    return Step(
        number, str(moment), SAID.sub("", words), {name: _value(said) for name, said in SAID.findall(words)}, faults
    )


def _fault(what: str, call: str, nth: str) -> Fault:
    kind = next((two for two in TWO_WORDS if what.startswith(two)), what.split(" ")[0])
    return Fault(kind, call, int(nth), what[len(kind) + 1 :])


def _value(said: str) -> Any:
    """Return a number, true or false as such, and everything else as text."""
    try:
        found = json.loads(said)
    except ValueError:
        return said
    return found if isinstance(found, int | float) else said


def lines_of(story: Story) -> str:
    """Return a story as ``told`` takes it; what else it needs is in the first line."""
    head = f"# seed={story.seed} {story.traits} {story.symbols}"
    return "\n".join([head, *(f"{step.at[:10]} {step.at[11:19]} {step.text()}" for step in story.steps)])
