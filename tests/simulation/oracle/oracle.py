"""``Oracle``: carries out the checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tests.simulation.oracle import bars
from tests.simulation.oracle.files import StoreFiles
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.subject import Findings, Subject
from tests.simulation.outcome import Outcome

MOST_FINDINGS = 5
"""Of one check: those after them are counted only."""


class Oracle:
    """Remembers one world from step to step."""

    def __init__(self, world: Subject) -> None:
        self._world, self.memory = world, Memory()

    def check(self, outcome: Outcome, depth: Literal["step", "day"]) -> list[str]:
        """Return what is wrong after a step, as sentences that begin with the name of their check.

        To be called with "step" after each step of a story, then with "day" where the full check is wanted.
        """
        return self._after_step(outcome) if depth == "step" else []

    def _after_step(self, outcome: Outcome) -> list[str]:
        world, memory = self._world, self.memory
        words = world.ledger.words_since(memory.heard)
        now = StoreFiles.on(world.disk)
        seen = Seen(outcome, memory.files, now, words, memory, world.story.traits.session)
        memory.note_damage(seen)
        found = [finding for name, check in self._checks(seen) for finding in self._carried_out(name, check)]
        memory.take_over(seen, world.ledger.count)
        return found

    def _checks(self, seen: Seen) -> Iterator[tuple[str, Findings]]:
        yield "invented", bars.invented(seen, self._world.ledger.said)
        yield "twice", bars.twice(seen)
        yield "lost", bars.lost(seen)

    def _carried_out(self, name: str, check: Findings) -> list[str]:
        results = list(check)
        self._world.counts.checked(name, len(results))
        found = [f"{name}: {result}" for result in results if result is not None]
        more = [f"{name}: {len(found) - MOST_FINDINGS} more"] if len(found) > MOST_FINDINGS else []
        return found[:MOST_FINDINGS] + more
