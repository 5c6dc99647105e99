"""Packing missing symbol-days into few requests: rectangles of symbols and consecutive sessions, of a good size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from attrs import evolve, field, frozen
from attrs.validators import ge

from marketpipe.shared_kernel.domain.bars_request import AskedSession
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionHours

PAGES_PER_BATCH = 16
FEWEST_PAGES_PER_BATCH = 4
Run = tuple[int, int]
Rectangle = tuple[tuple[Symbol, ...], Run]


@frozen
class PackingLimits:
    """What limits a batch: the provider's pages and symbols, and that each of the ``workers`` should get one."""

    bars_per_page: int = field(validator=ge(1))
    symbols_per_request: int = field(validator=ge(1))
    workers: int = field(default=1, validator=ge(1))

    def bars_per_batch(self, total_bars: float) -> float:
        """Return the size of batches: as long as all workers stay busy, for the last page of each is half empty."""
        for_all_workers = total_bars / (2 * self.workers) / self.bars_per_page
        return self.bars_per_page * min(PAGES_PER_BATCH, max(FEWEST_PAGES_PER_BATCH, for_all_workers))


def pack(missing: Mapping[Symbol, Sequence[int]], bars_per_day: float, limits: PackingLimits) -> Iterator[Rectangle]:
    """Yield the batches for ``missing``: for each symbol the ascending positions of its sessions.

    Runs are inclusive at both ends. Every missing symbol-day is in exactly one rectangle, and no other symbol-day is in
    any.
    """
    total = bars_per_day * sum(len(positions) for positions in missing.values())
    target = limits.bars_per_batch(total)
    for run, symbols in sorted(_fewest(_by_run(missing), limits.bars_per_page / bars_per_day).items()):
        yield from _cut(symbols, run, bars_per_day, target, limits)


def rectangles(missing: Mapping[Symbol, Sequence[int]]) -> Iterator[Rectangle]:
    """Yield the same rectangles, as large as possible."""
    for run, symbols in sorted(_by_run(missing).items()):
        yield tuple(symbols), run


def _fewest(groups: Mapping[Run, list[Symbol]], days_per_page: float) -> Mapping[Run, list[Symbol]]:
    """Cut runs of scattered days, which fill no page, into single days if that makes fewer requests."""
    small = {run: some for run, some in groups.items() if len(some) * (run[1] - run[0] + 1) < days_per_page}
    by_day: defaultdict[Run, list[Symbol]] = defaultdict(list)
    for (first, last), symbols in small.items():
        for day in range(first, last + 1):
            by_day[day, day] += symbols
    if len(by_day) >= len(small):
        return groups
    for run, symbols in groups.items():
        if run not in small:
            by_day[run] += symbols
    return {run: sorted(symbols) for run, symbols in by_day.items()}


def _by_run(missing: Mapping[Symbol, Sequence[int]]) -> Mapping[Run, list[Symbol]]:
    groups: defaultdict[Run, list[Symbol]] = defaultdict(list)
    for symbol in sorted(missing):
        for run in _runs(missing[symbol]):
            groups[run].append(symbol)
    return groups


def _runs(positions: Sequence[int]) -> Iterator[Run]:
    start = 0
    for end in range(1, len(positions) + 1):
        if end == len(positions) or positions[end] != positions[end - 1] + 1:
            yield positions[start], positions[end - 1]
            start = end


def _cut(
    symbols: Sequence[Symbol], run: Run, bars_per_day: float, target: float, limits: PackingLimits
) -> Iterator[Rectangle]:
    first, last = run
    days = min(last - first + 1, max(1, math.floor(target / bars_per_day)))
    width = min(limits.symbols_per_request, max(1, math.floor(target / (bars_per_day * days))))
    for some in _evenly(symbols, math.ceil(len(symbols) / width), limits.workers):
        for day in range(first, last + 1, days):
            yield some, (day, min(last, day + days - 1))


def _evenly(symbols: Sequence[Symbol], parts: int, workers: int) -> Iterator[tuple[Symbol, ...]]:
    """If there are several parts, give every worker as many, of one size: no worker ends long after the others."""
    count = parts if parts == 1 else min(len(symbols), math.ceil(parts / workers) * workers)
    bounds = [len(symbols) * part // count for part in range(count + 1)]
    return (tuple(symbols[start:end]) for start, end in pairwise(bounds))


EARLY, LATE = SessionHours.EARLY, SessionHours.LATE


@frozen
class OvernightWindow:
    """The late hours of one session and the early hours of the next, which these symbols lack.

    ``sessions`` are cut to those hours.
    """

    symbols: tuple[Symbol, ...]
    sessions: tuple[AskedSession, ...]
    is_odd: bool
    """Consecutive windows share a session; those of one parity share none, and may be requested at the same time."""


def overnight_windows(
    lacking: Mapping[Symbol, Mapping[int, SessionHours]], sessions: Sequence[AskedSession], most: int
) -> Iterator[OvernightWindow]:
    """Yield the windows for ``lacking``: by symbol the positions of sessions without early or late hours, or both.

    At most ``most`` symbols go into one window; the earliest comes first.
    """
    groups: defaultdict[tuple[int, bool, bool], list[Symbol]] = defaultdict(list)
    for symbol in sorted(lacking):
        for window, parts in _by_overnight_window(lacking[symbol]).items():
            groups[window, LATE in parts, EARLY in parts].append(symbol)
    for (window, late, early), symbols in sorted(groups.items(), key=lambda group: group[0]):
        cut = [evolve(sessions[window - 1], window=sessions[window - 1].session.late)] if late else []
        cut += [evolve(sessions[window], window=sessions[window].session.early)] if early else []
        for start in range(0, len(symbols), most):
            yield OvernightWindow(tuple(symbols[start : start + most]), tuple(cut), window % 2 == 1)


def _by_overnight_window(lacking: Mapping[int, SessionHours]) -> Mapping[int, SessionHours]:
    """Group by window; a window has the position of the session after it."""
    found: defaultdict[int, SessionHours] = defaultdict(lambda: SessionHours.NONE)
    for position, hours in lacking.items():
        if EARLY in hours:
            found[position] |= EARLY
        if LATE in hours:
            found[position + 1] |= LATE
    return found
