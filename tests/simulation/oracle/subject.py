"""What the oracle needs of a world, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.counts import Counts
from tests.simulation.ledger import Ledger
from tests.simulation.outcome import Outcome
from tests.simulation.story import Story

if TYPE_CHECKING:
    from tests.simulation.disk.model import ModelledDisk


class TrueClock(Protocol):
    def now(self) -> Timestamp: ...


class Subject(Protocol):
    """A world as the oracle sees it.

    ``skew`` is by how many seconds the clock of a new process is ahead now, ``standing`` whether it stands still.
    ``damaged`` has what a step did to a file from outside, by path: "rotted", "removed" or "replaced".
    """

    story: Story
    clock: TrueClock
    disk: ModelledDisk
    ledger: Ledger
    counts: Counts
    skew: float
    standing: bool
    damaged: Mapping[str, str]

    def ask(self, act: Callable[[Any], Any]) -> Outcome:
        """Let a new process without faults carry out ``act`` with a new pipeline. It is no step, and is not counted."""
        ...


Finding = Iterator[str]
