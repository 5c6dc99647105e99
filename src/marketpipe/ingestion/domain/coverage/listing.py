from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from attrs import frozen

from marketpipe.ingestion.domain.coverage.habits import OddSilence
from marketpipe.ingestion.domain.coverage.symbol_days import SymbolDays
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome


@frozen
class Listing:
    """Between which sessions of a grid a symbol has lived, as far as the provider has been asked.

    ``before`` and ``after`` count the silent sessions that border directly on its first and its last bars; a session
    that nobody has asked about ends the count, and so does one in which the whole market was silent: that shows an
    outage, not a listing. ``longest_run`` is its longest silence in between, in sessions.
    """

    first: int
    last: int
    before: int
    after: int
    longest_run: int

    @classmethod
    def of(cls, days: SymbolDays, market_silent: Sequence[bool]) -> Listing:
        """A symbol without any bars lives nowhere, and so nothing lies outside its life."""
        silent = [
            record is not None and record.outcome is Outcome.EMPTY and not outage
            for record, outage in zip(days.records, market_silent, strict=True)
        ]
        filled = [i for i, record in enumerate(days.records) if record and record.rows]
        if not filled:
            return cls._of_a_life_elsewhere(days, silent)
        first, last = filled[0], filled[-1]
        before = 0 if days.lives_before else _leading(silent[:first][::-1])
        after = 0 if days.lives_after else _leading(silent[last + 1 :])
        return cls(first, last, before, after, _longest(silent[first:last]))

    @classmethod
    def _of_a_life_elsewhere(cls, days: SymbolDays, silent: Sequence[bool]) -> Listing:
        count = len(silent)
        if days.lives_after and not days.lives_before:
            return cls(count, count, _leading(silent[::-1]), 0, 0)
        if days.lives_before and not days.lives_after:
            return cls(-1, -1, 0, _leading(silent), 0)
        return cls(0, count - 1, 0, 0, 0)

    def is_outside(self, position: int) -> bool:
        """Whether the provider is known to have nothing from there to the first bars, or since the last."""
        return self.first - self.before <= position < self.first or self.last < position <= self.last + self.after

    def run_outside(self, position: int) -> int:
        return self.before if position < self.first else self.after

    def begins_with(self, position: int, odd: OddSilence) -> bool:
        """A symbol's very first session may begin late: it was not listed before."""
        return position == self.first and self.before > 0 and odd.silence.start == 0


def _leading(silent: Sequence[bool]) -> int:
    return next((i for i, is_silent in enumerate(silent) if not is_silent), len(silent))


def _longest(silent: Sequence[bool]) -> int:
    return max((len(list(run)) for is_silent, run in groupby(silent) if is_silent), default=0)
