"""``Market``: the bars and official days of a few symbols, with a history that changes what a provider answers."""

from __future__ import annotations

from typing import Final

import numpy as np

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from tests.simulation.answers import MINUTE, NOTHING, Minutes, Official
from tests.simulation.changes import CHANGES, Change, Place
from tests.simulation.exchange import session_of
from tests.simulation.story import Step, Story, SymbolTraits

CLOSES_IN_EXTENDED_HOURS: Final = 4
"""Before the open and after the close bars are so many times as far from one another as in between."""


class Account:
    """The requests of all processes, as the provider counts them on its own clock, in seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._moments: list[float] = []

    def count(self, now: float) -> int:
        """Count a request. Returns how many there were in the last minute, with this one."""
        self._moments = [moment for moment in self._moments if moment > now - MINUTE / 1e6]
        self._moments.append(now)
        return len(self._moments)

    def free_at(self) -> float:
        """Return when the oldest request of the last minute is no longer counted."""
        return self._moments[0] + MINUTE / 1e6


class Market:
    """What happened, and what the provider answers: ``minutes`` and ``official`` depend on nothing but their arguments
    and the changes so far.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.symbols = {symbol.symbol: symbol for symbol in story.symbols}
        self.changes: list[Change] = []
        self.account = Account(story.traits.requests_per_minute)
        self._drawn: dict[tuple[object, ...], Minutes] = {}

    def change(self, step: Step) -> str:
        """Let a step change the market from its moment on. Returns the change in words."""
        change = Change.of(step, f"{self.story.seed}/{step.number}")
        self.changes.append(change)
        return change.text()

    def minutes(self, symbol: str, date: TradingDate, at: Timestamp, feed: str = "") -> Minutes:
        """Return what the provider answers at that moment: the bars that have ended, ascending."""
        session = session_of(date)
        if session is None or symbol not in self.symbols:
            return NOTHING
        real = self._real(symbol, session, at)
        place = self._place(symbol, session)
        active = self._active(symbol, date, at)
        key = (symbol, date, "answered", tuple(change.number for change in active))
        if key not in self._drawn:
            for change in active:
                real = CHANGES[change.kind].answered(change, place, real)
            self._drawn[key] = real
        return self._drawn[key].before(at.epoch_micros - MINUTE + 1)

    def official(self, symbol: str, date: TradingDate, at: Timestamp, feed: str = "") -> Official | None:
        """Return the official day that the provider answers at that moment; None before the close."""
        session = session_of(date)
        if session is None or symbol not in self.symbols or at < session.closes:
            return None
        real = self._real(symbol, session, at).before(at.epoch_micros - MINUTE + 1)
        found = official_of(session, real)
        for change in self._active(symbol, date, at):
            found = CHANGES[change.kind].official(change, self._place(symbol, session), found)
        return found

    def base(self, symbol: str, session: TradingSession) -> Minutes:
        """Return the bars of a day as if nothing ever changed."""
        key = (symbol, session.trading_date, "base")
        if key not in self._drawn:
            traits = self.symbols[symbol]
            is_listed = _is_listed(traits, session.trading_date)
            self._drawn[key] = _drawn(f"{self.story.seed}", traits, session) if is_listed else NOTHING
        return self._drawn[key]

    def _real(self, symbol: str, session: TradingSession, at: Timestamp) -> Minutes:
        """Return what was traded, whatever the provider says of it."""
        active = self._active(symbol, session.trading_date, at)
        key = (symbol, session.trading_date, "real", tuple(change.number for change in active))
        if key not in self._drawn:
            found, place = self.base(symbol, session), self._place(symbol, session)
            for change in active:
                found = CHANGES[change.kind].traded(change, place, found)
            self._drawn[key] = found
        return self._drawn[key]

    def _active(self, symbol: str, date: TradingDate, at: Timestamp) -> list[Change]:
        return [change for change in self.changes if change.holds(symbol, str(date), at)]

    def _place(self, symbol: str, session: TradingSession) -> Place:
        return Place(self, symbol, session, self.story.traits.adjustment)


def _is_listed(traits: SymbolTraits, date: TradingDate) -> bool:
    return traits.listed <= str(date) and (not traits.delisted or str(date) < traits.delisted)


def official_of(session: TradingSession, minutes: Minutes) -> Official | None:
    """Return the exchange's day of these minutes: prices of the regular session and its auction, volume of all hours.

    Return None without a bar in the regular session.
    """
    opens, closes = session.opens.epoch_micros, session.closes.epoch_micros
    regular = minutes.kept((minutes.times >= opens) & (minutes.times < closes))
    if not len(regular):
        return None
    auction = minutes.opens[minutes.times == closes].tolist()
    volume = float(minutes.volumes.sum())
    vwap = float((minutes.vwaps * minutes.volumes).sum() / volume) if volume else float(regular.closes[-1])
    return Official(
        session.trading_date.midnight.epoch_micros,
        float(regular.opens[0]),
        max(float(regular.highs.max()), *auction, 0.0),
        min(float(regular.lows.min()), *auction, np.inf),
        auction[0] if auction else float(regular.closes[-1]),
        volume,
        int(minutes.trades.sum()),
        round(vwap, 6),
    )


def _drawn(seed: str, traits: SymbolTraits, session: TradingSession) -> Minutes:
    """Draw a day: regular hours with a closing auction, and thinner ones around them."""
    text = f"{seed}/{traits.symbol}/{session.trading_date}"
    random = np.random.default_rng(list(text.encode()))
    times = _times(traits.minutes, session)
    count = len(times)
    path = traits.price * np.exp(
        0.01 * random.standard_normal() + np.cumsum(0.0005 * random.standard_normal(count + 1))
    )
    path = np.round(path, 2)
    opens, closes = path[:-1], path[1:]
    spread = random.integers(1, 9, (2, count)) / 100
    is_auction = times == session.closes.epoch_micros
    closes = np.where(is_auction, opens, closes)
    highs = np.round(np.maximum(opens, closes) + np.where(is_auction, 0, spread[0]), 2)
    lows = np.round(np.minimum(opens, closes) - np.where(is_auction, 0, spread[1]), 2)
    volumes = random.integers(100, 5_000, count).astype(np.float64)
    vwaps = np.round((opens + closes) / 2, 4)
    return Minutes(times, opens, highs, lows, closes, volumes, random.integers(1, 60, count), vwaps)


def _times(step: int, session: TradingSession) -> np.ndarray:
    wide = step * CLOSES_IN_EXTENDED_HOURS
    opens, closes = session.opens.epoch_micros, session.closes.epoch_micros
    early = np.arange(session.extended.start.epoch_micros, opens, wide * MINUTE)
    regular = np.arange(opens, closes, step * MINUTE)
    late = np.arange(closes + wide * MINUTE, session.extended.end.epoch_micros, wide * MINUTE)
    return np.concatenate([early, regular, [closes], late]).astype(np.int64)
