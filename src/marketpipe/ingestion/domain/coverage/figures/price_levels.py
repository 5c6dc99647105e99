"""Sessions at another price level: in another scale, of another security, or after a split.

The open of each session is compared with the last close before. A level that comes back within some sessions, while no
bar in between reaches the old one, was never the symbol's. One that lasts is explained by a split, if the volume moves
the other way, or by news, if the volume says so; else the scale has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import frozen

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid
from marketpipe.ingestion.domain.coverage.figures.series import REACH, FigureSeries, median
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, Verdict, suspect
from marketpipe.shared_kernel.domain.symbol import Outcome

LARGE, VERY_LARGE, ABSURD = 1.35, math.log(3), math.log(20)
"""Moves overnight: below the first (times) none is looked at; the third (a logarithm) is no news."""
APART = math.log(1.25)
"""The least distance of a level that comes back."""
TOLERANT = 0.25
"""The part of a step by which the old level may be missed on the way back."""
MOVES_APART, MOVES_OF_A_FAR_LEVEL = 6.0, 3.0
LONGEST_EXCURSION, LONGEST_NEAR_EXCURSION = 10, 3
"""Sessions until the old level is back; the second for levels that are less than three times apart."""
RAISED = 3.0
"""Times the usual volume: there is news."""
SESSIONS_OF_SILENCE = 10
MOVES_OF_A_SILENCE = 2.5
SMALLEST_STEP_AFTER_SILENCE = math.log(1.4)
SPLITS = (
    *((up, 1) for up in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 75, 80, 100, 150, 200)),
    *((3, 2), (5, 2), (7, 2), (4, 3), (5, 3), (5, 4), (7, 4), (7, 5), (8, 5)),
)
"""The ratios that companies choose."""
NEAR_A_SPLIT = 0.04


@frozen
class PriceLevels:
    """Finds the sessions of one symbol whose price level is odd.

    ``gaps`` are the logarithms of the moves of the whole market before each session: they explain as much of a move.
    """

    grid: SessionGrid
    series: FigureSeries
    gaps: Sequence[float]

    def findings(self) -> Iterator[tuple[int, Finding]]:
        """Yield suspect sessions, and complete ones whose detail names a likely split."""
        priced, index = self.series.priced, 0
        for place in self._jumps():
            if place < index:
                continue
            silent = self._silence_before(place)
            if silent:
                yield from self._after_silence(place, silent)
                continue
            end = self._end_of_excursion(place)
            if end is None:
                yield from self._lasting(place)
                continue
            index = end + 1  # the way back is part of it
            if detail := self._excursion(place, end):
                yield from ((priced[i], suspect(Suspicion.PRICE_LEVEL, detail)) for i in range(place, end))

    def _jumps(self) -> Iterator[int]:
        """Yield the indices of the sessions that open far from the last close."""
        last_close = 0.0
        for index, position in enumerate(self.series.priced):
            found = self.series.at(position)
            ratio = found.open / last_close if last_close else 1.0
            if not 1 / LARGE < ratio < LARGE:
                yield index
            last_close = found.close

    def _step(self, place: int) -> float:
        """Return the move before a session without what the market moved, at most a factor of three."""
        market = self.gaps[self.series.priced[place]] if self.gaps else 0.0
        return self.series.gap(place) - max(-VERY_LARGE, min(VERY_LARGE, market))

    def _silence_before(self, place: int) -> int:
        """Return the number of sessions without bars before one, if the provider had none for all of them."""
        first, end = self.series.priced[place - 1] + 1, self.series.priced[place]
        records = self.series.records[first:end]
        silent = all(record is not None and record.outcome is Outcome.EMPTY for record in records)
        return end - first if silent and end - first >= SESSIONS_OF_SILENCE else 0

    def _after_silence(self, place: int, silent: int) -> Iterator[tuple[int, Finding]]:
        step, usual = self.series.gap(place), self.series.daily_move(place)
        if abs(step) < max(SMALLEST_STEP_AFTER_SILENCE, MOVES_OF_A_SILENCE * usual * math.sqrt(silent)):
            return
        before, after = self.series.priced[place - 1], self.series.priced[place]
        detail = (
            f"another security? Its bars end on {self.grid.dates[before]} at {self.series.at(before).close:g} and "
            f"begin again on {self.grid.dates[after]} at {self.series.at(after).open:g}, after {silent} sessions "
            "without bars: find out whether the name was another company's, and ask for each under its own dates"
        )
        yield after, suspect(Suspicion.ANOTHER_SECURITY, detail)

    def _end_of_excursion(self, place: int) -> int | None:
        """Return the index of the session that opens at the old level again; None if none does soon."""
        step, old = self._step(place), math.log(self.series.at(self.series.priced[place - 1]).close)
        move = self.series.usual_move(place)
        for end in range(place + 1, min(place + LONGEST_EXCURSION, len(self.series.priced) - 1) + 1):
            back, level = self._step(end), math.log(self.series.at(self.series.priced[end]).open)
            tolerance = min(abs(step) / 2, max(0.15, 4 * move * math.sqrt(end - place), TOLERANT * abs(step)))
            if back * step < 0 and abs(back) > abs(step) / 2 and abs(level - old) < tolerance:
                return end
        return None

    def _excursion(self, place: int, end: int) -> str | None:
        """Return why the sessions up to ``end``, exclusive, are suspect; None if they may be real."""
        series, priced = self.series, self.series.priced
        old, new = series.at(priced[place - 1]).close, series.at(priced[end]).open
        within = [series.at(position) for position in priced[place:end]]
        if self._step(place) > 0:
            apart = math.log(min(each.low for each in within) / max(old, new))
        else:
            apart = math.log(min(old, new) / max(each.high for each in within))
        move, usual = series.usual_move(place, end), series.usual(place, lambda each: each.total_volume, end)
        raised = median([each.total_volume for each in within]) > RAISED * usual
        far = apart >= VERY_LARGE and apart > MOVES_OF_A_FAR_LEVEL * move
        near = apart >= APART and end - place <= LONGEST_NEAR_EXCURSION and apart > MOVES_APART * move and not raised
        if not far and not near:
            return None
        times = math.exp(self._step(place))
        return (
            f"its prices are {_times(times)} the last close {old:g} of {self.grid.dates[priced[place - 1]]}, and on "
            f"{self.grid.dates[priced[end]]} they are back at {new:g}: another scale, or another security"
        )

    def _lasting(self, place: int) -> Iterator[tuple[int, Finding]]:
        series, priced = self.series, self.series.priced
        step, old = self._step(place), series.at(priced[place - 1])
        before = median([series.at(p).total_volume for p in priced[max(0, place - REACH) : place]])
        after = median([series.at(p).total_volume for p in priced[place : place + REACH]])
        day = series.at(priced[place])
        facts = f"opens at {day.open:g}, {_times(math.exp(step))} the last close {old.close:g}"
        is_far = abs(step) > MOVES_OF_A_FAR_LEVEL * series.usual_move(place)
        if is_far and (split := self._split(step, before, after)):
            yield (
                priced[place],
                Finding(Verdict.COMPLETE, f"{facts}; the volume moved the other way: likely a {split} split"),
            )
        elif abs(step) >= ABSURD or (is_far and abs(step) >= VERY_LARGE and day.total_volume < RAISED * before):
            detail = f"{facts}, and the volume does not explain it: another scale, or another security"
            for position in self._shorter_side(place):
                yield position, suspect(Suspicion.PRICE_LEVEL, detail)

    def _shorter_side(self, place: int) -> list[int]:
        """Return the first session of the new level; or those of the old one, if they are few at the very beginning."""
        after = len(self.series.priced) - place
        return self.series.priced[:place] if 3 * place < after and place <= 3 else [self.series.priced[place]]

    def _split(self, step: float, before: float, after: float) -> str | None:
        """Return the ratio of the split that the move looks like, such as 10:1; None if it looks like none."""
        if not before or not after:
            return None
        volume, times = math.log(after / before), math.exp(abs(step))
        up, down = min(SPLITS, key=lambda split: abs(math.log(split[0] / split[1] / times)))
        tolerance = max(NEAR_A_SPLIT, abs(step) * 0.05)
        if abs(math.log(up / down / times)) > tolerance or volume * step >= 0 or abs(volume) < abs(step) / 3:
            return None
        return f"{up}:{down}" if step < 0 else f"{down}:{up}"


def _times(ratio: float) -> str:
    return f"{ratio:.4g} times" if ratio >= 1 else f"1/{1 / ratio:.4g} of"
