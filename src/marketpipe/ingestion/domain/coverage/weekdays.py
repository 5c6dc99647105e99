"""The habits of weekdays: a symbol that trades on Mondays only has nothing on other days, and nothing is withheld."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.baseline import Profiles, SessionGrid, Silence
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.shared_kernel.domain.symbol import Outcome

WEEKS = 10
"""On either side of a session."""
FEWEST_SESSIONS, MANY_SESSIONS = 3, 5
MANY_WEEKDAYS = 3
"""Of five: a symbol that is silent on so many has that habit after fewer weeks."""
HABIT = 0.8
"""The share of the sessions of a weekday that shows its habit."""
WEEKDAYS = range(5)


@frozen
class WeekdayHabits:
    """Compares a session with those of the same weekday only. ``profiles`` are the minutes with a bar."""

    grid: SessionGrid = field(repr=False)
    days: SymbolDays = field(repr=False)
    profiles: Profiles = field(repr=False)

    def is_silent(self, position: int) -> bool:
        """Whether the provider has hardly ever bars on that weekday, in the whole time that was ever requested."""
        weekday = self._weekday(position)
        silent = sum(self._share(other, self._is_empty) for other in WEEKDAYS if other != weekday)
        sessions = [self._is_empty(i) for i in self._of(weekday)]
        fewest = FEWEST_SESSIONS if silent >= MANY_WEEKDAYS - 1 else MANY_SESSIONS
        return len(sessions) >= fewest and sum(sessions) >= HABIT * len(sessions)

    def is_quiet(self, position: int, most: float, silence: Silence | None = None) -> bool:
        """Whether hardly any session of that weekday, in the weeks around, has more bars (in those minutes)."""
        near = (i for i in self._of(self._weekday(position)) if i != position and abs(i - position) <= 5 * WEEKS)
        known = [minutes for i in near if (minutes := self.profiles[i]) is not None]
        quiet = [(silence.bars_in(minutes) if silence else minutes.bit_count()) <= most for minutes in known]
        return len(quiet) >= FEWEST_SESSIONS and sum(quiet) >= HABIT * len(quiet)

    def _share(self, weekday: int, holds: Callable[[int], bool]) -> bool:
        sessions = [holds(i) for i in self._of(weekday)]
        return bool(sessions) and sum(sessions) >= HABIT * len(sessions)

    def _is_empty(self, position: int) -> bool:
        record = self.days.records[position]
        return record is not None and record.outcome is Outcome.EMPTY

    def _of(self, weekday: int) -> Iterator[int]:
        """Yield the positions of the sessions of a weekday that were requested."""
        for position, record in enumerate(self.days.records):
            if record is not None and record.outcome.is_settled and self._weekday(position) == weekday:
                yield position

    def _weekday(self, position: int) -> int:
        return self.grid.dates[position].day.weekday()
