"""What the other symbols show of a session, and between which sessions a symbol was listed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby

from attrs import define, evolve, field, frozen

from marketpipe.ingestion.domain.coverage.baseline import (
    Baseline,
    CoverageThresholds,
    Profiles,
    SessionGrid,
    Silence,
    SilenceLimits,
    UnusualSilence,
    with_halts,
)
from marketpipe.ingestion.domain.coverage.minutes.cuts import Cut, cuts
from marketpipe.ingestion.domain.coverage.minutes.joint import JointSilences, LostMinutes
from marketpipe.ingestion.domain.coverage.minutes.levels import Levels
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures, OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate


@frozen
class SymbolDays:
    """The checkpoints of one symbol, one for each session of a grid; None if a session was never requested.

    ``conditions`` are of the files that differ from their record. ``stored_before`` and ``stored_after``: the symbol
    has stored bars before the first session, or after the last.
    """

    symbol: Symbol
    records: Sequence[IngestionCheckpoint | None] = field(repr=False)
    conditions: Mapping[TradingDate, VersionCondition]
    stored_before: bool = False
    stored_after: bool = False
    official: Mapping[TradingDate, OfficialDay | None] = field(factory=dict, repr=False)
    """The official days: None if the provider has none; absent if it was not asked."""

    @classmethod
    def of(
        cls,
        symbol: Symbol,
        grid: SessionGrid,
        records: Mapping[TradingDate, IngestionCheckpoint],
        conditions: Mapping[TradingDate, VersionCondition],
        stored_span: tuple[TradingDate, TradingDate] | None = None,
        official: Mapping[TradingDate, OfficialDay | None] | None = None,
    ) -> SymbolDays:
        """Select the days of the grid. ``stored_span``: dates of the first and last stored bars, in the grid or not."""
        before = stored_span is not None and bool(grid.dates) and stored_span[0] < grid.dates[0]
        after = stored_span is not None and bool(grid.dates) and stored_span[1] > grid.dates[-1]
        return cls(symbol, [records.get(date) for date in grid.dates], conditions, before, after, official or {})

    @cached_property
    def _minutes(self) -> list[int | None]:
        """The traded minutes of the sessions that are complete, a bit for each minute after 04:00."""
        return [
            None if r is None or r.minutes is None or r.outcome is not Outcome.COMPLETE else r.minutes.bits
            for r in self.records
        ]

    def profiles(self, grid: SessionGrid) -> Profiles:
        """Return the traded minutes of the sessions that are complete and whose file is the recorded one."""
        found = [
            None if minutes is None else item.regular(minutes)
            for item, minutes in zip(grid.sessions, self._minutes, strict=True)
        ]
        for position, date in enumerate(grid.dates):
            if self.conditions and date in self.conditions:
                found[position] = None
        return found

    def hours(self, grid: SessionGrid, part: SessionHours) -> list[int | None]:
        """Return the number of bars of each session's early or late hours, the first minutes after the close excepted.

        None if it is unknown, and on days that close early.
        """
        whole = SessionHours.EXTENDED  # nearly all have these: the test of flags takes much longer
        return [
            item.bars_of(part, minutes)
            if minutes and record and (record.hours is whole or record.hours.covers(part))
            else None
            for item, record, minutes in zip(grid.sessions, self.records, self._minutes, strict=True)
        ]

    def figures(self, profiles: Profiles) -> list[DayFigures | None]:
        """Return the figures of the sessions that have a profile, so that they are those of the recorded file."""
        return [
            None if minutes is None or record is None else record.figures
            for minutes, record in zip(profiles, self.records, strict=True)
        ]

    def cut(self, part: slice) -> SymbolDays:
        return evolve(self, records=self.records[part])

    def silent(self) -> list[int]:
        return [i for i, record in enumerate(self.records) if record and record.outcome is Outcome.EMPTY]


@frozen
class Listing:
    """The sessions of a grid between which a symbol has bars, and the empty ones before and after them.

    ``before`` and ``after`` count the empty sessions directly before its first and after its last bars. A session that
    was never requested ends the count, and so does one in which the whole market was silent: that shows an outage, not
    a listing. ``longest_run`` is the longest run of empty sessions in between.
    """

    first: int
    last: int
    before: int
    after: int
    longest_run: int

    @classmethod
    def of(cls, days: SymbolDays, market_silent: Sequence[bool]) -> Listing:
        """Return the listing of a symbol. If it has no bars in the grid, it has no first and no last session there."""
        silent = [
            record is not None and record.outcome is Outcome.EMPTY and not outage
            for record, outage in zip(days.records, market_silent, strict=True)
        ]
        filled = [i for i, record in enumerate(days.records) if record and record.rows]
        if not filled:
            return cls._stored_outside_the_grid(days, silent)
        first, last = filled[0], filled[-1]
        before = 0 if days.stored_before else _leading(silent[:first][::-1])
        after = 0 if days.stored_after else _leading(silent[last + 1 :])
        return cls(first, last, before, after, _longest(silent[first:last]))

    @classmethod
    def _stored_outside_the_grid(cls, days: SymbolDays, silent: Sequence[bool]) -> Listing:
        count = len(silent)
        if days.stored_after and not days.stored_before:
            return cls(count, count, _leading(silent[::-1]), 0, 0)
        if days.stored_before and not days.stored_after:
            return cls(-1, -1, 0, _leading(silent), 0)
        return cls(0, count - 1, 0, 0, 0)

    def is_outside(self, position: int) -> bool:
        """Whether the provider has nothing from there to the first bars, or since the last."""
        return self.first - self.before <= position < self.first or self.last < position <= self.last + self.after

    def run_outside(self, position: int) -> int:
        return self.before if position < self.first else self.after

    def begins_with(self, position: int, odd: UnusualSilence) -> bool:
        """Whether the silence is the beginning of the symbol's first session ever: it was listed during that day."""
        return position == self.first and self.before > 0 and odd.silence.start == 0


def _leading(silent: Sequence[bool]) -> int:
    return next((i for i, is_silent in enumerate(silent) if not is_silent), len(silent))


def _longest(silent: Sequence[bool]) -> int:
    return max((len(list(run)) for is_silent, run in groupby(silent) if is_silent), default=0)


FEWEST_SYMBOLS_OF_A_MARKET = 2
SMALLEST_SHARE = 0.4
"""Of its usual trade: what the market sees on its quietest half days. Less is a loss of bars."""
SMALLEST_LEVEL = math.log(SMALLEST_SHARE)
FEWEST_SYMBOLS_OF_A_SHARE = 5
"""Among fewer, one symbol's own loss would excuse itself."""


@frozen
class MarketSession:
    """What all symbols together show of a session.

    ``share``: the part of its usual trade that the market has seen, at most 1. ``traded`` symbols have bars in it,
    ``silent`` ones have bars in other sessions but none in it. ``outage``: minutes in which none of several symbols has
    a bar. ``lost``: minutes that many liquid symbols lack at once. ``level``: by how much the levels of the symbols
    differ from the usual, at most 0.
    """

    share: float
    traded: int
    silent: int
    outage: Silence | None = None
    lost: LostMinutes | None = None
    level: float = 0.0
    cut: Cut | None = None
    """Minutes in which no symbol has a bar, session after session."""

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
    levels: list[float] = field(factory=list)


@define
class MarketSurvey:
    """Adds up one symbol after another, and keeps only a few numbers for each session."""

    grid: SessionGrid
    thresholds: CoverageThresholds
    _sums: list[_Sum] = field(init=False)
    _lengths: list[int] = field(init=False)
    _joint: JointSilences = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sums = [_Sum() for _ in self.grid.sessions]
        self._lengths = [item.length for item in self.grid.sessions]
        self._joint = JointSilences(self._lengths, self.thresholds.neighbours)

    def add(self, profiles: Profiles, silent: Iterable[int]) -> None:
        """Count a symbol. ``silent``: positions of the sessions for which the provider had no bars of it."""
        baseline = Baseline(self.grid, profiles, self.thresholds)
        profiles, reach = with_halts(profiles, self.grid.halted()), self.thresholds.neighbours
        levels = Levels(profiles, self._lengths)
        for position, minutes in enumerate(profiles):
            if minutes is not None:
                total, usual = self._sums[position], baseline.usual_bars(position)
                total.minutes |= minutes
                total.traded += 1
                self._joint.add(position, minutes, usual)
                if usual:
                    total.shares += min(1.0, minutes.bit_count() / usual)
                    total.compared += 1
                if (difference := levels.difference(position, reach)) is not None:
                    total.levels.append(difference)
        if any(minutes is not None for minutes in profiles):
            for position in silent:
                self._sums[position].silent += 1

    def sessions(self) -> tuple[MarketSession, ...]:
        """Return the result for each session of the grid."""
        several = [s.minutes if s.traded >= FEWEST_SYMBOLS_OF_A_MARKET else None for s in self._sums]
        limits = SilenceLimits(self.thresholds.stop_minutes, self.thresholds.stop_bars)
        baseline, lost = Baseline(self.grid, several, self.thresholds, inside=limits), self._joint.lost()
        cut = cuts(several, self._lengths)
        return tuple(
            self._session(baseline, position, lost[position], cut.get(position)) for position in range(len(self.grid))
        )

    def _session(self, baseline: Baseline, position: int, lost: LostMinutes | None, cut: Cut | None) -> MarketSession:
        found = self._sums[position]
        share = found.shares / found.compared if found.compared >= FEWEST_SYMBOLS_OF_A_SHARE else 1.0
        share = max(share, SMALLEST_SHARE)
        odd = baseline.unusual_silence(position)  # without the share: lost bars must not excuse themselves
        level = sorted(found.levels)[len(found.levels) // 2] if found.compared >= FEWEST_SYMBOLS_OF_A_SHARE else 0.0
        level = max(SMALLEST_LEVEL, min(0.0, level))
        return MarketSession(share, found.traded, found.silent, odd.silence if odd else None, lost, level, cut)
