"""``Oracle``: carries out the checks."""

from __future__ import annotations

from typing import Literal

from tests.simulation.oracle.subject import Subject
from tests.simulation.outcome import Outcome


class Oracle:
    """Remembers one world from step to step."""

    def __init__(self, world: Subject) -> None:
        self._world = world

    def check(self, outcome: Outcome, depth: Literal["step", "day"]) -> list[str]:
        """Return what is wrong after a step, as sentences that begin with the name of their check.

        To be called with "step" after each step of a story, then with "day" where the full check is wanted.
        """
        return []
