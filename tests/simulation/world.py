"""``World``: one machine, one market, one store and the people who use it, carrying out one story."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.outcome import Outcome
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.story import Step, Story

STORE = "/proc/world/store"
"""No process can make or read a file there on the real disk: what goes around the port fails at once."""


class World:
    """Carries out the steps of a story, and asks the oracle after each.

    ``clock`` tells the true time. ``disk`` is a ``ModelledDisk``, ``databases`` are ``ModelledDatabases``, ``market`` a
    ``Market``, ``ledger`` a ``Ledger``, and ``counts`` counts what really happened.
    """

    story: Story
    scheduler: Scheduler
    clock: WorldClock
    disk: Any
    databases: Any
    market: Any
    ledger: Any
    counts: Any

    def __init__(self, story: Story) -> None:
        self.story = story

    def carry_out(self, step: Step) -> Outcome:
        raise NotImplementedError

    def check(self, depth: Literal["step", "day"]) -> list[str]:
        """Return what ``Oracle.check`` finds: sentences that begin with the name of their check."""
        raise NotImplementedError

    def ask(self, act: Callable[[Any], Any]) -> Outcome:
        """Let a new process without faults carry out ``act`` with a new pipeline, for the oracle: no step, not counted.

        The clock of that process is as far ahead as those of others.
        """
        raise NotImplementedError

    def processes(self) -> list[Process]:
        """Return the processes that live."""
        raise NotImplementedError

    def new_process(self, step: Step) -> Process:
        """Start a process with the faults of the step."""
        raise NotImplementedError

    def lose_power(self, draw: Random) -> list[str]:
        """End all processes, lose what is not synced, and return what was lost, in words."""
        raise NotImplementedError


class WorldClock:
    """The true time of a world. ``start`` is when its story begins."""

    def __init__(self, scheduler: Scheduler, start: Timestamp) -> None:
        self._scheduler, self.start = scheduler, start

    def now(self) -> Timestamp:
        raise NotImplementedError

    def now_ns(self) -> int:
        raise NotImplementedError
