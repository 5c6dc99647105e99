from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from attrs import define, evolve, field, frozen

from marketpipe.ingestion.domain.coverage.baseline import (
    CoverageThresholds,
    Habits,
    OddSilence,
    Profiles,
    SessionGrid,
    Silence,
    SilenceLimits,
)
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.store_inventory import FileCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate


@frozen
class SymbolDays:
    """All that is known of one symbol in the sessions of a grid, each sequence with one entry a session.

    ``conditions`` are those of the files that are not as they were recorded. ``lives_before`` and ``lives_after`` say
    whether the symbol has bars on dates before the first session or after the last.
    """

    symbol: Symbol
    records: Sequence[IngestionCheckpoint | None] = field(repr=False)
    conditions: Mapping[TradingDate, FileCondition]
    lives_before: bool = False
    lives_after: bool = False

    @classmethod
    def of(
        cls,
        symbol: Symbol,
        grid: SessionGrid,
        records: Mapping[TradingDate, IngestionCheckpoint],
        conditions: Mapping[TradingDate, FileCondition],
        life: tuple[TradingDate, TradingDate] | None = None,
    ) -> SymbolDays:
        """``life``: the dates of its first and last stored bars, wherever they lie; None where it has none."""
        before = life is not None and bool(grid.dates) and life[0] < grid.dates[0]
        after = life is not None and bool(grid.dates) and life[1] > grid.dates[-1]
        return cls(symbol, [records.get(date) for date in grid.dates], conditions, before, after)

    def profiles(self, grid: SessionGrid) -> Profiles:
        """Of the sessions that are complete and whose file has not changed."""
        found: list[int | None] = [
            None
            if record is None or record.minutes is None or record.outcome is not Outcome.COMPLETE
            else item.regular(record.minutes)
            for item, record in zip(grid.sessions, self.records, strict=True)
        ]
        for position, date in enumerate(grid.dates):
            if self.conditions and date in self.conditions:
                found[position] = None
        return found

    def cut(self, part: slice) -> SymbolDays:
        return evolve(self, records=self.records[part])

    def silent(self) -> list[int]:
        return [i for i, record in enumerate(self.records) if record and record.outcome is Outcome.EMPTY]


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
