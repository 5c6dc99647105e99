"""``Outcome``: how one step ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.story import Step


@frozen
class Outcome:
    """``ended`` is "returned", "raised", "killed", "stopped", "stuck" or, of a step that is no command, "happened".

    ``value`` is the report or the table that a command returned, or what a change says in words; ``error`` what it
    raised. ``calls`` counts its calls of the machine, by name. ``happened`` has its faults whose call was reached.
    """

    step: Step
    ended: str
    began: Timestamp
    over: Timestamp
    process: str = ""
    value: Any = None
    error: BaseException | None = None
    calls: Counter[str] = field(factory=Counter)
    happened: tuple[str, ...] = ()
    beside: tuple[Outcome, ...] = ()

    def all(self) -> tuple[Outcome, ...]:
        return (self, *self.beside)
