from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from attrs import frozen

from marketpipe.ingestion.domain.day_record import DayRecord
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome


@frozen
class Listing:
    """Between which sessions a symbol has lived, as far as the provider has been asked.

    ``before`` and ``after`` count the silent sessions that border directly on its first and its last bars; a session
    that nobody has asked about ends the count. ``longest_run`` is its longest silence in between, in sessions.
    """

    first: int
    last: int
    before: int
    after: int
    longest_run: int

    @classmethod
    def of(cls, records: Sequence[DayRecord | None]) -> Listing:
        """Of the sessions of a grid; a symbol without any bars lives nowhere, and so nothing lies outside its life."""
        filled = [i for i, record in enumerate(records) if record and record.rows]
        if not filled:
            return cls(0, len(records) - 1, 0, 0, 0)
        silent = [record is not None and record.outcome is Outcome.EMPTY for record in records]
        first, last = filled[0], filled[-1]
        return cls(
            first, last, _leading(silent[:first][::-1]), _leading(silent[last + 1 :]), _longest(silent[first:last])
        )

    def is_outside(self, position: int) -> bool:
        """Whether the provider is known to have nothing from there to the first bars, or since the last."""
        return self.first - self.before <= position < self.first or self.last < position <= self.last + self.after

    def run_outside(self, position: int) -> int:
        return self.before if position < self.first else self.after


def _leading(silent: Sequence[bool]) -> int:
    return next((i for i, is_silent in enumerate(silent) if not is_silent), len(silent))


def _longest(silent: Sequence[bool]) -> int:
    return max((len(list(run)) for is_silent, run in groupby(silent) if is_silent), default=0)
