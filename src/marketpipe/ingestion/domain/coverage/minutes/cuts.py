"""Cuts: minutes of the clock in which a symbol that trades densely beside them has no bar, session after session.

A provider that ends (or begins) every session at one minute, or loses the same hour of every day, makes a loss that
looks usual: the sessions around a session show it too. But no trading ends at the same minute every day. A symbol that
stops at times of its own leaves soft edges: it has no cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from attrs import frozen

WINDOWS = (5, 20)
"""In so many sessions in a row the same minutes are silent; in all of them if there are fewer than five."""
FEWEST_SESSIONS = 3
FEWEST_BARS = 45
"""Of a session, in the mean: a symbol that trades for a while each day has no density to judge by."""
LOG_CHANCE = -27.0
"""Of such a silence by chance, as a natural logarithm: two in a million million."""
SMALLEST_DENSITY, LARGEST_DENSITY = 0.3, 0.97
"""Of the minutes beside a cut. No symbol is taken to be denser: quiet minutes come together."""
DENSITY_OF_FEW_SESSIONS, MANY_SESSIONS = 0.8, 10
"""In few sessions a symbol that is not dense may stop at the same minutes by chance."""
SOFTNESS = 2.5
"""The edges of a cut are as soft as the gaps between bars, and at most so many times softer."""
BUSIEST = 2.0
"""Minutes beside a cut have at most so many times the density of a session: that saves looking at short silences."""
AROUND = 60
"""Minutes beside a silence that show how densely the symbol trades."""
CLUSTERING = 5.0
"""So many further minutes of one silence are as good as one independent minute."""


@frozen
class Cut:
    """Minutes from ``start`` to ``end``, exclusive, without a bar in ``sessions`` sessions in a row.

    ``density`` is the share of the minutes beside them that have a bar.
    """

    start: int
    end: int
    sessions: int
    density: float

    @property
    def length(self) -> int:
        return self.end - self.start


@frozen
class _Sessions:
    """Sessions in a row: ``traded`` minutes, ``lengths`` in minutes, and the minutes ``silent`` in all of them."""

    traded: Sequence[int]
    lengths: Sequence[int]
    silent: int


def cuts(profiles: Sequence[int | None], lengths: Sequence[int]) -> dict[int, Cut]:
    """Return the longest cut of each session that has one, by position. Bit 0 of a profile is the open's minute."""
    known = [i for i, minutes in enumerate(profiles) if minutes]
    traded, closes = [profiles[i] or 0 for i in known], [lengths[i] for i in known]
    found: dict[int, Cut] = {}
    if len(known) < FEWEST_SESSIONS:
        return found
    # Minutes after an early close are neither silent nor traded: they go with the other sessions.
    full = (1 << max(closes)) - 1
    silent = [full & ~minutes for minutes in traded]
    bars = list(accumulate(map(int.bit_count, traded), initial=0))
    for window in {min(size, len(known)) for size in WINDOWS}:
        for at, common in _silent_in_all(silent, window):
            part = slice(at, at + window)
            if bars[at + window] - bars[at] < FEWEST_BARS * window:
                continue
            cut = _longest_cut(_Sessions(traded[part], closes[part], common))
            for position in known[part] if cut else ():
                before = found.get(position)
                if cut and cut.start < lengths[position] and (before is None or cut.length > before.length):
                    found[position] = cut
    return found


def _silent_in_all(silent: Sequence[int], window: int) -> Iterator[tuple[int, int]]:
    """Yield the first of ``window`` sessions in a row, and the minutes silent in all of them, unless there are none."""
    common, width = list(silent), 1
    while width < window:
        step = min(width, window - width)
        common = [one & other for one, other in zip(common, common[step:], strict=False)]
        width += step
    return ((at, minutes) for at, minutes in enumerate(common) if minutes)


def _longest_cut(sessions: _Sessions) -> Cut | None:
    count, length = len(sessions.traded), max(sessions.lengths)
    common = sessions.silent & (1 << length) - 1
    bars, rest = sum(map(int.bit_count, sessions.traded)), count * (length - common.bit_count())
    if bars < max(SMALLEST_DENSITY * rest, FEWEST_BARS * count):
        return None  # thin wherever it trades
    densest = min(LARGEST_DENSITY, BUSIEST * bars / max(1, rest))
    least = 1 + CLUSTERING * (LOG_CHANCE / math.log1p(-densest) / count - 1)
    if not _has_run(common, math.ceil(least)):
        return None
    best, start = None, 0
    for run in f"{common:b}"[::-1].split("0"):
        end = start + len(run)
        if run and len(run) >= least and (best is None or len(run) > best.length):
            best = _as_cut(start, end, sessions) or best
        start = end + 1
    return best


def _has_run(minutes: int, length: int) -> bool:
    """Whether so many minutes in a row are set. A few operations on whole sessions, where text takes one a minute."""
    width = 1
    while minutes and width < length:
        step = min(width, length - width)
        minutes &= minutes >> step
        width += step
    return minutes != 0


def _as_cut(start: int, end: int, sessions: _Sessions) -> Cut | None:
    """Return a cut if the silence is too unlikely for a symbol that trades so densely beside it, with sharp edges."""
    pairs = zip(sessions.traded, sessions.lengths, strict=True)
    concerned = [(minutes, closes) for minutes, closes in pairs if closes > start]
    if len(concerned) < FEWEST_SESSIONS:
        return None
    edges = list[_Edges]()
    least = SMALLEST_DENSITY if len(concerned) >= MANY_SESSIONS else DENSITY_OF_FEW_SESSIONS
    minutes = bars = 0
    for left, (traded, closes) in enumerate(concerned, 1 - len(concerned)):
        edges.append(edge := _Edges.of(traded, start, end, closes))
        minutes, bars = minutes + edge.minutes, bars + edge.bars
        rest = -left * 2 * AROUND  # nearly all stop here: too thin even if all that is left had a bar
        if bars + rest < least * (minutes + rest):
            return None
    density = min(LARGEST_DENSITY, bars / minutes)  # each session has a bar somewhere, and not in this silence
    effective = sum(1 + (min(end, closes) - start - 1) / CLUSTERING for _, closes in concerned)
    is_sharp = sum(item.softness for item in edges) / len(edges) <= 1 + SOFTNESS * (1 - density) / density
    is_unlikely = effective * math.log1p(-density) < LOG_CHANCE
    return Cut(start, end, len(concerned), density) if is_sharp and is_unlikely else None


@frozen
class _Edges:
    """The ``minutes`` beside a session's own silence, their ``bars``, and by how much it is longer than the common."""

    minutes: int
    bars: int
    softness: int

    @classmethod
    def of(cls, traded: int, start: int, end: int, closes: int) -> _Edges:
        left, after = (traded & (1 << start) - 1).bit_length(), traded >> end
        right = end + (after & -after).bit_length() - 1 if after else max(end, closes)
        first, last = max(0, left - AROUND), max(right, min(closes, right + AROUND))
        bars = (traded >> first & (1 << left - first) - 1).bit_count()
        bars += (traded >> right & (1 << last - right) - 1).bit_count()
        return cls(left - first + last - right, bars, start - left + right - end)
