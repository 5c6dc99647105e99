"""The figures of one symbol's sessions in their order, and what is usual around each of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.symbol import Outcome

REACH = 10
"""How many sessions with figures on either side show what is usual."""
FEWEST_MOVES = 4
UNKNOWN_MOVE = 0.05
"""Of a symbol with too few sessions to know: a volatile one."""
SMALLEST_MOVE, SMALLEST_SPREAD = 0.005, 0.2


@frozen
class FigureSeries:
    """One entry for each session of a grid: None without figures, or if the file is not the recorded one."""

    figures: Sequence[DayFigures | None] = field(repr=False)
    records: Sequence[IngestionCheckpoint | None] = field(repr=False)

    @classmethod
    def of(cls, grid: SessionGrid, days: SymbolDays) -> FigureSeries:
        complete = Outcome.COMPLETE
        figures = [r.figures if r is not None and r.outcome is complete else None for r in days.records]
        for position, date in enumerate(grid.dates) if days.conditions else ():
            if date in days.conditions:
                figures[position] = None
        return cls(figures, days.records)

    def bars(self, position: int) -> int:
        record = self.records[position]
        return 0 if record is None else record.rows

    @cached_property
    def priced(self) -> list[int]:
        """The positions of the sessions with a bar in regular hours."""
        return [position for position, found in enumerate(self.figures) if found is not None and found.open > 0]

    def at(self, position: int) -> DayFigures:
        """Return the figures of a session that has some."""
        if (found := self.figures[position]) is None:
            raise LookupError(f"session {position} has no figures")
        return found

    def around(self, index: int, end: int | None = None) -> Iterator[DayFigures]:
        """Yield the figures around the session ``priced[index]``, or around those up to ``priced[end]``, exclusive."""
        last = index + 1 if end is None else end
        for position in (*self.priced[max(0, index - REACH) : index], *self.priced[last : last + REACH]):
            yield self.at(position)

    def usual(self, index: int, value: Callable[[DayFigures], float], end: int | None = None) -> float:
        """Return the median of a figure around a session; 0 if there are no others."""
        return median([value(figures) for figures in self.around(index, end)])

    def moves(self, index: int, end: int | None = None) -> list[float]:
        """Return how far the price moved overnight before the sessions around one: absolute logarithms, ascending."""
        last = index + 1 if end is None else end
        places = (*range(max(1, index - REACH), index), *range(last + 1, min(last + REACH, len(self.priced))))
        found = (abs(self.gap(place)) / math.sqrt(self.priced[place] - self.priced[place - 1]) for place in places)
        return sorted(found)

    def gap(self, index: int) -> float:
        """Return the logarithm of the open of ``priced[index]`` over the last close before."""
        return math.log(self.at(self.priced[index]).open / self.at(self.priced[index - 1]).close)

    def usual_move(self, index: int, end: int | None = None, rank: float = 0.8) -> float:
        """Return the overnight move that this part of the sessions around do not exceed."""
        moves = self.moves(index, end)
        found = moves[int(rank * (len(moves) - 1))] if len(moves) >= FEWEST_MOVES else UNKNOWN_MOVE
        return max(found, SMALLEST_MOVE)

    def daily_move(self, index: int) -> float:
        """Return what would be the standard deviation of a day's move, by the closes before and after a session."""
        places = (*range(max(1, index - REACH), index), *range(index + 1, min(index + REACH, len(self.priced))))
        moves = [
            abs(math.log(self.at(self.priced[i]).close / self.at(self.priced[i - 1]).close))
            / math.sqrt(self.priced[i] - self.priced[i - 1])
            for i in places
        ]
        return max(SMALLEST_MOVE, 1.48 * median(moves) if len(moves) >= FEWEST_MOVES else UNKNOWN_MOVE)

    def misfit(self, position: int, side: Callable[[list[float]], float] = min) -> float:
        """Return how badly a session fits the sessions around it, by prices and volume, in units of what is usual.

        ``side`` chooses of the moves before and after it: beside a day that is wrong itself, a good one fits on its
        other side.
        """
        index = bisect_left(self.priced, position)
        if self.priced[index : index + 1] != [position]:
            return 0.0
        moves = [abs(self.gap(place)) for place in (index, index + 1) if 0 < place < len(self.priced)]
        volumes = [math.log(each.total_volume) for each in self.around(index) if each.total_volume]
        figures, centre = self.at(position), median(volumes)
        spread = max(SMALLEST_SPREAD, median([abs(each - centre) for each in volumes]))
        volume = abs(math.log(figures.total_volume) - centre) if volumes and figures.total_volume else 0.0
        return side(moves or [0.0]) / self.usual_move(index, index + 2, rank=0.5) + volume / spread


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
