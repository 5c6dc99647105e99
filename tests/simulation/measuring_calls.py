"""``python -m tests.simulation.measuring_calls``: count the calls of commands in drawn worlds, for ``usual_calls.py``.

Prints the table ``MEASURED`` as it should be, and which faults of these worlds were not reached. No check looks on.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from tests.simulation.__main__ import FIXED
from tests.simulation.drawing import drawn
from tests.simulation.drawn_faults import KILLED_AT, MAY_FAIL
from tests.simulation.outcome import Outcome
from tests.simulation.people import COMMANDS
from tests.simulation.running import undisturbed
from tests.simulation.usual_calls import FIRST, group_of
from tests.simulation.world import World

NOT_SURE: Final = 1 / 12
"""So many commands make fewer calls than are ``sure``; and so many, nearly half, fewer than are ``deep``."""
NOT_DEEP: Final = 0.55
MORNING: Final = "06"
DRAWN: Final = {*MAY_FAIL, *KILLED_AT, "GET"}
"""The calls that faults are drawn for."""
STORED: Final = "begin_to_store"
"""The first command of an evening that has nothing to store is none to take an example from: it never writes."""
Groups = dict[str, list[Counter[str]]]


class Measured:
    """``calls`` has those of each command that returned and met no fault, by its group.

    ``faults`` counts those of all commands, by group, fault and whether it was reached.
    """

    def __init__(self) -> None:
        self.calls: Groups = defaultdict(list)
        self.faults: Counter[tuple[str, str, bool]] = Counter()

    def add(self, seed: int, steps: int) -> None:
        """Carry out the story of a seed."""
        with undisturbed():
            world = World(drawn(seed, steps))
            try:
                for step in world.story.steps:
                    world.carry_out(step)
            finally:
                world.close()
        date, has_asked, symbols = "", True, len(world.story.symbols)
        for outcome in world.outcomes:
            at = outcome.step.at
            if at[:10] != date and at[11:13] < MORNING:
                date, has_asked = at[:10], False
            for each in outcome.all():
                self._add(each, is_first=not has_asked, symbols=symbols)
                has_asked |= each.step.kind in FIRST

    def _add(self, outcome: Outcome, *, is_first: bool, symbols: int) -> None:
        step = outcome.step
        if step.kind not in COMMANDS:
            return
        group = group_of(step.kind, is_first=is_first, symbols=symbols)
        for fault in step.faults:
            self.faults[group, f"{fault.kind} at {fault.call}", fault.text() in outcome.happened] += 1
        is_of_interest = outcome.calls[STORED] or not group.startswith("first")
        if outcome.ended == "returned" and not outcome.happened and is_of_interest:
            self.calls[group].append(outcome.calls)

    def reached(self) -> tuple[int, int]:
        """Return how many faults happened, and how many were drawn."""
        return sum(count for (_, _, is_reached), count in self.faults.items() if is_reached), self.faults.total()

    def lines(self) -> Iterator[str]:
        for group, found in sorted(self.calls.items()):
            yield f'    "{group}": ('
            text = ", ".join(f"{call} {sure} {deep}" for call, (sure, deep) in sorted(usual(found).items()))
            yield from (f'        "{line} "' for line in textwrap.wrap(text, 106))
            yield f"    ),  # {len(found):,} commands"

    def missed(self) -> Iterator[str]:
        """Yield what was not reached, most often first."""
        for (group, fault, is_reached), count in self.faults.most_common():
            if not is_reached:
                yield f"not reached: {count} of {count + self.faults[group, fault, True]} {fault} of {group}"


def usual(found: Sequence[Counter[str]]) -> Mapping[str, tuple[int, int]]:
    """Return the ``sure`` and the ``deep`` number of each call that nearly half of the commands make."""
    counts, last = {name: sorted(calls[name] for calls in found) for name in DRAWN}, len(found) - 1
    both = {name: (each[int(last * NOT_SURE)], each[int(last * NOT_DEEP)]) for name, each in counts.items()}
    return {name: numbers for name, numbers in both.items() if numbers[1]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="the first seed (%(default)s)")
    parser.add_argument("--count", type=int, default=60, help="so many seeds (%(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="the length of a story (%(default)s)")
    options, measured, say = parser.parse_args(), Measured(), partial(print, flush=True)
    for seed in range(options.first, options.first + options.count):
        measured.add(seed, options.steps)
    for line in (*measured.lines(), *measured.missed()):
        say(line)
    reached, all_faults = measured.reached()
    say(f"{reached} of {all_faults} faults were reached in {options.count} stories of {options.steps} steps")
    return 0


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in FIXED.items()):
        command = [sys.executable, "-m", "tests.simulation.measuring_calls", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **FIXED})
    sys.exit(main())
