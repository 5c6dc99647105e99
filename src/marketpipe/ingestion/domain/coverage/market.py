from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen

from marketpipe.ingestion.domain.coverage.habits import Habits, Profiles, SilenceLimits
from marketpipe.ingestion.domain.coverage.session_grid import SessionGrid
from marketpipe.ingestion.domain.coverage.silences import Silence
from marketpipe.ingestion.domain.coverage.thresholds import CoverageThresholds

FEWEST_SYMBOLS_OF_A_MARKET = 2
SMALLEST_SHARE = 0.4  # of its usual trade a market has seen on its quietest half days; less is a loss of bars
FEWEST_SYMBOLS_OF_A_SHARE = 5  # among fewer, one symbol's own loss would excuse itself


@frozen
class MarketSession:
    """What the other symbols say of a session.

    ``share``: how much of its usual trade the market has seen, at most 1. ``traded`` symbols have bars in it,
    ``silent`` ones have bars in other sessions but none here. ``outage``: minutes in which none of several symbols has.
    """

    share: float
    traded: int
    silent: int
    outage: Silence | None = None

    @property
    def is_silent(self) -> bool:
        return not self.traded and self.silent >= FEWEST_SYMBOLS_OF_A_MARKET


@define
class _Sum:
    minutes: int = 0
    traded: int = 0
    silent: int = 0
    shares: float = 0.0
    compared: int = 0


@define
class MarketSurvey:
    """Takes in one symbol after another, and keeps for each session a few numbers only."""

    grid: SessionGrid
    thresholds: CoverageThresholds
    _sums: list[_Sum] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sums = [_Sum() for _ in self.grid.sessions]

    def add(self, profiles: Profiles, silent: Iterable[int]) -> None:
        """``silent``: positions for which the provider had nothing of this symbol."""
        habits = Habits(self.grid, profiles, self.thresholds)
        for position, minutes in enumerate(profiles):
            if minutes is not None:
                self._add_session(self._sums[position], minutes, habits.usual_bars(position))
        if any(minutes is not None for minutes in profiles):
            for position in silent:
                self._sums[position].silent += 1

    @staticmethod
    def _add_session(total: _Sum, minutes: int, usual: float | None) -> None:
        total.minutes |= minutes
        total.traded += 1
        if usual:
            total.shares += min(1.0, minutes.bit_count() / usual)
            total.compared += 1

    def sessions(self) -> tuple[MarketSession, ...]:
        """What has come out, for each session of the grid."""
        several = [s.minutes if s.traded >= FEWEST_SYMBOLS_OF_A_MARKET else None for s in self._sums]
        limits = SilenceLimits(self.thresholds.stop_minutes, self.thresholds.stop_bars)
        habits = Habits(self.grid, several, self.thresholds, inside=limits)
        return tuple(self._session(habits, position) for position in range(len(self.grid)))

    def _session(self, habits: Habits, position: int) -> MarketSession:
        found = self._sums[position]
        share = found.shares / found.compared if found.compared >= FEWEST_SYMBOLS_OF_A_SHARE else 1.0
        share = max(share, SMALLEST_SHARE)
        odd = habits.odd_silence(position)  # not scaled: what is missing may not excuse itself
        return MarketSession(share, found.traded, found.silent, odd.silence if odd else None)
