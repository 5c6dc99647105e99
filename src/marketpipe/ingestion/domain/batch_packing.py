"""How missing symbol-days become few requests: rectangles of symbols and consecutive sessions, cut to a good size."""

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
    """``bars_per_page`` and ``symbols_per_request`` are the provider's; ``workers`` want at least a batch each."""

    bars_per_page: int = field(validator=ge(1))
    symbols_per_request: int = field(validator=ge(1))
    workers: int = field(default=1, validator=ge(1))

    def bars_per_batch(self, total_bars: float) -> float:
        """The last page of a batch is half empty on average: batches are as long as keeps every worker busy."""
        for_everyone = total_bars / (2 * self.workers) / self.bars_per_page
        return self.bars_per_page * min(PAGES_PER_BATCH, max(FEWEST_PAGES_PER_BATCH, for_everyone))


def pack(missing: Mapping[Symbol, Sequence[int]], bars_per_day: float, limits: PackingLimits) -> Iterator[Rectangle]:
    """``missing``: for each symbol the ascending positions of its sessions. Runs are inclusive at both ends.

    Every missing symbol-day lies in exactly one rectangle, and nothing else does.
    """
    total = bars_per_day * sum(len(positions) for positions in missing.values())
    target = limits.bars_per_batch(total)
    for run, symbols in sorted(_fewest(_by_run(missing), limits.bars_per_page / bars_per_day).items()):
        yield from _cut(symbols, run, bars_per_day, target, limits)


def rectangles(missing: Mapping[Symbol, Sequence[int]]) -> Iterator[Rectangle]:
    """The same, as large as they can be."""
    for run, symbols in sorted(_by_run(missing).items()):
        yield tuple(symbols), run


def _fewest(groups: Mapping[Run, list[Symbol]], days_per_page: float) -> Mapping[Run, list[Symbol]]:
    """Runs of scattered days fill no page: they are cut into days where that makes fewer requests."""
    small = {run: some for run, some in groups.items() if len(some) * _length(run) < days_per_page}
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


def _length(run: Run) -> int:
    return run[1] - run[0] + 1


def _by_run(missing: Mapping[Symbol, Sequence[int]]) -> Mapping[Run, list[Symbol]]:
    groups: defaultdict[Run, list[Symbol]] = defaultdict(list)
    for symbol in sorted(missing):
        for run in _runs(missing[symbol]):
            groups[run].append(symbol)
    return groups


def _runs(positions: Sequence[int]) -> Iterator[Run]:
    start = previous = None
    for position in positions:
        if start is None or previous is None or position != previous + 1:
            if start is not None and previous is not None:
                yield start, previous
            start = position
        previous = position
    if start is not None and previous is not None:
        yield start, previous


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
    """Where there is more than one part, as many for every worker, and as large: none ends long after another."""
    count = parts if parts == 1 else min(len(symbols), math.ceil(parts / workers) * workers)
    bounds = [len(symbols) * part // count for part in range(count + 1)]
    return (tuple(symbols[start:end]) for start, end in pairwise(bounds))


EARLY, LATE = SessionHours.EARLY, SessionHours.LATE


@frozen
class Night:
    """The hours that these symbols lack around one night; ``sessions`` are cut to them."""

    symbols: tuple[Symbol, ...]
    sessions: tuple[AskedSession, ...]
    is_odd: bool
    """Nights in a row share a session; those of one parity share none, and may be asked for at the same time."""


def nights(
    lacking: Mapping[Symbol, Mapping[int, SessionHours]], sessions: Sequence[AskedSession], most: int
) -> Iterator[Night]:
    """``lacking``: for each symbol the positions of sessions that lack early or late hours, or both.

    At most ``most`` symbols go into one night; the earliest comes first.
    """
    groups: defaultdict[tuple[int, bool, bool], list[Symbol]] = defaultdict(list)
    for symbol in sorted(lacking):
        for night, parts in _nights_of(lacking[symbol]).items():
            groups[night, LATE in parts, EARLY in parts].append(symbol)
    for (night, late, early), symbols in sorted(groups.items(), key=lambda group: group[0]):
        cut = [_late(sessions[night - 1])] if late else []
        cut += [_early(sessions[night])] if early else []
        for start in range(0, len(symbols), most):
            yield Night(tuple(symbols[start : start + most]), tuple(cut), night % 2 == 1)


def _nights_of(lacking: Mapping[int, SessionHours]) -> Mapping[int, SessionHours]:
    """A night has the position of the session after it."""
    found: defaultdict[int, SessionHours] = defaultdict(lambda: SessionHours.NONE)
    for position, hours in lacking.items():
        if EARLY in hours:
            found[position] |= EARLY
        if LATE in hours:
            found[position + 1] |= LATE
    return found


def _late(asked: AskedSession) -> AskedSession:
    return evolve(asked, window=asked.session.late)


def _early(asked: AskedSession) -> AskedSession:
    return evolve(asked, window=asked.session.early)
