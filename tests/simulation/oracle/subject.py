"""What the oracle needs of a world, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.counts import Counts
from tests.simulation.ledger import Ledger
from tests.simulation.outcome import Outcome
from tests.simulation.story import Story

if TYPE_CHECKING:
    from tests.simulation.disk.model import ModelledDisk

Findings = Iterator[str | None]
"""What a check yields: None for each thing that is as promised, and a sentence for each that is not."""
DAMAGES: Final = frozenset({"rot", "file lost", "rewritten", "something else", "folder moved"})
"""Kinds of steps in which somebody damages a file from outside."""
HARMFUL: Final = DAMAGES | {"power loss", "disk full", "disk read-only", "copied"}
HARMLESS_FAULTS: Final = ("wire", "stop", "pause")


class TrueClock(Protocol):
    def now(self) -> Timestamp: ...


class Scheduler(Protocol):
    now: float


class Subject(Protocol):
    """A world as the oracle sees it.

    ``skew`` is by how many seconds the clock of a new process is ahead now, ``standing`` whether it stands still.
    ``damaged`` has what a step did to a file from outside, by path: "rotted", "removed", "rewritten" or "replaced".
    """

    story: Story
    clock: TrueClock
    scheduler: Scheduler
    disk: ModelledDisk
    ledger: Ledger
    counts: Counts
    skew: float
    standing: bool
    damaged: Mapping[str, str]

    def ask(self, act: Callable[[Any], Any]) -> Outcome:
        """Let a new process without faults carry out ``act`` with a new pipeline. It is no step, and is not counted."""
        ...
