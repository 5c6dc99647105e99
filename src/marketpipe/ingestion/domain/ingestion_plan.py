"""The scope of an ingestion, when a session is final, and a plan with an estimate of its cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from attrs import field, frozen

from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, as_symbols
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, Timestamp
from marketpipe.shared_kernel.domain.trading_date import (
    SessionHours,
    SessionKind,
    TradingCalendar,
    TradingDate,
    TradingSession,
)


@frozen
class IngestionScope:
    """What is wanted: every symbol on every trading date from ``first`` to ``last``, both inclusive.

    ``since`` has the symbols that are wanted only from a later date on.
    """

    symbols: tuple[Symbol, ...] = field(converter=as_symbols)
    first: TradingDate
    last: TradingDate = field()
    session_kind: SessionKind = SessionKind.EXTENDED
    since: Mapping[Symbol, TradingDate] = field(factory=dict, repr=False)

    @symbols.validator
    def _some(self, _: object, symbols: tuple[Symbol, ...]) -> None:
        if not symbols:
            raise ConfigurationError("symbols: name at least one")

    @last.validator
    def _not_before_first(self, _: object, last: TradingDate) -> None:
        if last < self.first:
            raise ConfigurationError(f"end {last} is before start {self.first}")

    def including(self, other: IngestionScope) -> IngestionScope:
        """Return the smallest scope, without ``since``, that includes this one and another."""
        if other == self:
            return self
        symbols = dict.fromkeys((*self.symbols, *other.symbols))
        return IngestionScope(symbols, min(self.first, other.first), max(self.last, other.last), self.session_kind)

    def first_of(self, symbol: Symbol) -> TradingDate:
        return max(self.first, self.since.get(symbol, self.first))


LONGEST_CLOSURES = (14, 400)
"""Days. In 2001 the exchange was closed for six days; exceptions of the configuration may close it for longer."""


@frozen
class SessionFinality:
    """A session is final when the provider's ``delay`` has passed since its extended close.

    ``closing_auction``: the minute after the close that a regular session is asked for as well; see
    ``ProviderCapabilities``.
    """

    delay: timedelta
    closing_auction: int | None = None

    def ask(self, session: TradingSession, kind: SessionKind, now: Timestamp) -> AskedSession | None:
        """Return what may be requested of the session at ``now``; None before its first minute has ended."""
        # A minute that has not ended has no bar yet.
        knowable = Timestamp.from_epoch_micros(
            now.plus(-self.delay).epoch_micros // MICROS_PER_MINUTE * MICROS_PER_MINUTE
        )
        window = session.window(kind, self.closing_auction)
        if knowable <= window.start:
            return None
        return AskedSession(session, window.until(knowable), self.is_final(session, now))

    def is_final(self, session: TradingSession, now: Timestamp) -> bool:
        return now.plus(-self.delay) >= session.extended.end

    def latest_final(self, calendar: TradingCalendar, now: Timestamp) -> TradingDate:
        """Return the trading date of the newest session that is final."""
        today = TradingDate.of(now)
        for days in LONGEST_CLOSURES:
            sessions = calendar.sessions(today.plus_days(-days), today)
            if final := [session.trading_date for session in sessions if self.is_final(session, now)]:
                return final[-1]
        raise ConfigurationError(f"calendar: exceptions: no session of the {LONGEST_CLOSURES[-1]} days before {today}")


T = TypeVar("T")


def even_sample(items: Sequence[T], most: int) -> Sequence[T]:
    """Return all items, or ``most`` of them at even distances; the same ones for the same items."""
    return items if len(items) <= most else [items[number * len(items) // most] for number in range(most)]


@frozen
class TypicalVolume:
    """The average over the stored symbol-days of a symbol; ``days`` is their number."""

    bars_a_day: float
    bytes_a_bar: float
    days: int


@frozen
class TypicalVolumes:
    """The averages by symbol, and that of all stored symbol-days; None if nothing is stored."""

    by_symbol: Mapping[Symbol, TypicalVolume]
    overall: TypicalVolume | None

    def of(self, symbol: Symbol) -> TypicalVolume | None:
        """Return the symbol's own average, or else the overall one."""
        return self.by_symbol.get(symbol) or self.overall

    def days_behind(self, symbols: Collection[Symbol]) -> int:
        """Return how many stored symbol-days the averages of these symbols come from."""
        own = sum(self.by_symbol[symbol].days for symbol in symbols if symbol in self.by_symbol)
        if self.overall and any(symbol not in self.by_symbol for symbol in symbols):
            return max(own, self.overall.days)
        return own

    def mean_bars(self, symbols: Iterable[Symbol]) -> float | None:
        """Return the mean bars of a stored day of these symbols; None if none is stored."""
        known = [volume for symbol in symbols if (volume := self.by_symbol.get(symbol))]
        days = sum(volume.days for volume in known)
        return sum(volume.bars_a_day * volume.days for volume in known) / days if days else None


GUESS = TypicalVolume(bars_a_day=390.0, bytes_a_bar=32.0, days=0)
"""Of a liquid symbol: a bar a minute of the regular session."""
SHARES = {SessionHours.REGULAR: 0.9, SessionHours.EARLY: 0.05, SessionHours.LATE: 0.05}
"""The rough shares of a day's bars by hours."""


@frozen
class PlanEstimate:
    """What a plan will cost; sizes are bytes of stored files.

    ``requests`` are pages of the provider. ``known_days`` is the number of stored symbol-days that the estimate is
    based on; 0 for a guess of 390 bars a symbol-day.
    """

    symbol_days: int
    bars: int
    requests: int
    size_bytes: int
    known_days: int

    def minutes_at(self, requests_per_minute: int | None, others: int = 0) -> float | None:
        """Return the fewest minutes that the provider's rate limit allows, with so many other requests.

        None if it has no limit.
        """
        return (self.requests + others) / requests_per_minute if requests_per_minute else None


def estimate(batches: Sequence[BarsRequest], volumes: TypicalVolumes, limits: PackingLimits) -> PlanEstimate:
    bars = size = 0.0
    requests = symbol_days = 0
    for batch in batches:
        days = sum(map(_share, batch.sessions))
        expected = [(volumes.of(symbol) or GUESS) for symbol in batch.symbols]
        in_batch = sum(volume.bars_a_day for volume in expected) * days
        requests += max(1, math.ceil(in_batch / limits.bars_per_page))
        symbol_days += len(batch.symbols) * len(batch.sessions)
        bars += in_batch
        size += sum(volume.bars_a_day * volume.bytes_a_bar for volume in expected) * days
    known = volumes.days_behind({symbol for batch in batches for symbol in batch.symbols})
    return PlanEstimate(symbol_days, round(bars), requests, round(size), known)


def _share(asked: AskedSession) -> float:
    """Return the share of a day's bars in a session's window; 1 if it includes the regular hours."""
    if SessionHours.REGULAR in asked.hours:
        return 1.0
    return sum(share for part, share in SHARES.items() if part in asked.hours)


@frozen
class IngestionPlan:
    """The requests of a job. Counts are symbol-days: ``settled`` need no request, ``not_begun`` have no bars yet.

    ``second_phase`` are the numbers of those ``batches`` that share symbol-days with others, and have to wait for them.
    A symbol-day whose early and late hours are requested apart counts twice among the ``planned``. ``unrecorded`` days
    are planned though they have a file: it has no checkpoint.
    """

    batches: tuple[BarsRequest, ...] = field(repr=lambda batches: f"<{len(batches)} batches>")
    settled: int
    not_begun: int
    estimate: PlanEstimate
    second_phase: frozenset[int] = frozenset()
    unrecorded: frozenset[SymbolDay] = field(default=frozenset(), repr=False)

    @property
    def phases(self) -> tuple[tuple[BarsRequest, ...], ...]:
        """No two batches of one phase have a symbol-day in common."""
        first = tuple(batch for batch in self.batches if batch.batch_id not in self.second_phase)
        return first, tuple(batch for batch in self.batches if batch.batch_id in self.second_phase)

    @property
    def planned(self) -> int:
        return sum(len(batch.symbols) * len(batch.sessions) for batch in self.batches)
