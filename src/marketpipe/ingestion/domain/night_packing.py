"""How the hours around regular sessions that are known already become requests: one window from close to open.

A store of the regular session is widened without asking again for what it has. The hours after one close and those
before the next open are one stretch of time, so one request serves both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.bars_request import AskedSession
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_session import SessionHours

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
