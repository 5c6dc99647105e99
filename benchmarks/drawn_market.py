"""A market that is drawn from a seed: minute bars of many symbols with the noise that real ones have.

Symbols reach from some bars a day to a bar in every minute. Trading follows the hours of the day (a busy open and
close, a lull at lunch) and comes in clusters; a symbol has busy weeks and news days, the whole market has quiet days, a
quiet December and half days; single symbols are halted. Prices are a random walk in cents with gaps overnight. The
official daily bar belongs to the same trades: open, high, low and close of the regular session with its closing
auction, volume of all hours by a factor of the symbol, as real providers' minutes and days differ by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cached_property

import numpy as np
from attrs import define, frozen

MINUTES = 960
"""From 04:00 to 20:00 New York time."""
OPEN, CLOSE, EARLY_CLOSE, EARLY_END = 330, 720, 540, 780
REBALANCING = 1.3
Array = np.ndarray


@frozen
class Character:
    """What a symbol is like; ``density`` is the mean number of trades in a minute of the regular session."""

    density: float
    extended: float
    """The share of that density which the hours before and after the session see."""
    volatility: float
    lot: float
    factor: float
    """The volume of all minutes over the official volume."""
    price: float


@define
class DrawnBars:
    """The bars of one symbol: one row for each session, one column for each minute after 04:00.

    ``traded`` marks the minutes with a bar; the values elsewhere have no meaning.
    """

    traded: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    official: Array
    """Open, high, low, close and volume of the official day; one row for each session."""
    closes: Sequence[int]
    """The minute of the close of each session."""


def characters(count: int, seed: int) -> list[Character]:
    """Draw the symbols: two of five dense, the rest from middling to very thin."""
    random = np.random.default_rng([seed, 1])
    dense = random.uniform(size=count) < 0.4
    density = np.where(dense, 10 ** random.uniform(0.6, 2.0, count), 10 ** random.uniform(-2.0, 0.6, count))
    return [
        Character(
            float(rate),
            float(random.uniform(0.005, 0.25)),
            float(random.uniform(0.008, 0.04)),
            float(10 ** random.uniform(1.5, 2.5)),
            float(random.choice([random.uniform(1.0, 1.05), random.uniform(1.05, 1.21)], p=[0.8, 0.2])),
            float(10 ** random.uniform(0.7, 2.7)),
        )
        for rate in density
    ]


@define(slots=False)
class DrawnMarket:
    """Draws the bars of its symbols, always the same ones for a seed; they are not kept."""

    days: Sequence[date]
    early_closes: frozenset[date]
    symbols: Sequence[Character]
    seed: int

    @cached_property
    def _closes(self) -> list[int]:
        return [EARLY_CLOSE if day in self.early_closes else CLOSE for day in self.days]

    def bars_of(self, number: int) -> DrawnBars:
        """Return the bars of one symbol in all sessions."""
        character, random = self.symbols[number], np.random.default_rng([self.seed, 2, number])
        gaps = self._gaps(character, random)
        trades = self._trades(character, gaps, random)
        traded = trades > 0
        self._halt(traded, random)
        open_, high, low, close = self._prices(character, gaps, random)
        volume = self._volumes(character, trades, random)
        found = DrawnBars(traded, open_, high, low, close, volume, np.empty((len(self.days), 5)), self._closes)
        self._official(found, character, random)
        return found

    def _gaps(self, character: Character, random: np.random.Generator) -> Array:
        """Return the move of the logarithm of the price before each session; one of a hundred is a large one."""
        count = len(self.days)
        gaps = random.standard_t(3, count) * character.volatility * 0.5
        return np.clip(np.where(random.uniform(size=count) < 0.01, gaps * 4, gaps), -1.0, 0.7)

    def _activity(self, gaps: Array, random: np.random.Generator) -> Array:
        """Return the factor of each session: the whole market's times the symbol's own."""
        market = np.random.default_rng([self.seed, 3])
        count = len(self.days)
        common = np.exp(_waves(market, count, 0.9, 0.12))
        quiet = [(day.month, day.day) > (12, 19) or (day.month, day.day) < (1, 3) for day in self.days]
        common[np.array(quiet)] *= 0.55
        common[np.array([day in self.early_closes for day in self.days])] *= 0.7
        own = np.exp(_waves(random, count, 0.85, 0.3))
        news = (random.uniform(size=count) < 0.02) | (np.abs(gaps) > 0.15)
        return common * own * np.where(news, random.uniform(2, 8, count), 1.0)

    def _trades(self, character: Character, gaps: Array, random: np.random.Generator) -> Array:
        count = len(self.days)
        clusters = np.exp(_waves(random, count * MINUTES, 0.9, 0.5) - 0.125).reshape(count, MINUTES)
        rate = character.density * self._activity(gaps, random)[:, None] * clusters
        trades = random.poisson(rate * _hours(character.extended))
        for row, day in enumerate(self.days):
            if day in self.early_closes:
                late = random.poisson(rate[row] * _hours(character.extended)[CLOSE])
                trades[row, EARLY_CLOSE:] = late[EARLY_CLOSE:]
                trades[row, EARLY_END:] = 0
            closes = self._closes[row]
            if character.density * 390 > 50:  # the auctions
                trades[row, OPEN] += 1
                trades[row, closes] += 1
        return trades

    def _halt(self, traded: Array, random: np.random.Generator) -> None:
        for row in np.flatnonzero(random.uniform(size=len(self.days)) < 1 / 1500):
            start = int(random.integers(OPEN, self._closes[row] - 10))
            length = int(random.choice([5, 10, 15, random.integers(30, 120)], p=[0.6, 0.15, 0.15, 0.1]))
            traded[row, start : min(start + length, self._closes[row] - 1)] = False

    def _prices(self, character: Character, gaps: Array, random: np.random.Generator) -> tuple[Array, ...]:
        count = len(self.days)
        step = character.volatility / 20
        moves = random.standard_t(4, (count, MINUTES)) * step * np.sqrt(0.5)
        moves[:, 0] += gaps
        moves = np.where(_hours(0.2) > 0.5, moves, moves * 0.5)
        path = np.cumsum(moves.ravel() - 0.5 * step**2)
        path -= np.linspace(0, path[-1], len(path)) * 0.7
        close = character.price * np.exp(path).reshape(count, MINUTES)
        before = np.concatenate([[character.price], close.ravel()[:-1]]).reshape(count, MINUTES)
        open_ = before * np.exp(random.normal(0, step / 3, (count, MINUTES)))
        spread = np.abs(random.normal(0, step / 2, (2, count, MINUTES)))
        high, low = np.maximum(open_, close) * (1 + spread[0]), np.minimum(open_, close) * (1 - spread[1])
        return tuple(np.maximum(np.round(value, 2), 0.01) for value in (open_, high, low, close))

    def _volumes(self, character: Character, trades: Array, random: np.random.Generator) -> Array:
        each = character.lot * np.exp(random.normal(-0.5, 1.0, trades.shape))
        volume = np.maximum(1, np.round(trades * each))
        for row in range(len(self.days)):
            total = volume[row][trades[row] > 0].sum()
            volume[row, OPEN] += round(total * random.uniform(0.005, 0.02))
            volume[row, self._closes[row]] += round(total * random.uniform(0.03, 0.12))
        return volume

    def _official(self, bars: DrawnBars, character: Character, random: np.random.Generator) -> None:
        rebalancing = np.random.default_rng([self.seed, 4]).uniform(size=len(self.days)) < 1 / 250
        for row in range(len(self.days)):
            closes = self._closes[row]
            inside = np.flatnonzero(bars.traded[row, OPEN:closes]) + OPEN
            volume = bars.volume[row][bars.traded[row]].sum()
            factor = character.factor * (REBALANCING if rebalancing[row] else 1.0) * np.exp(random.normal(0, 0.006))
            if not len(inside):
                bars.official[row] = np.nan
                continue
            auction = bars.open[row, closes] if bars.traded[row, closes] else bars.close[row, inside[-1]]
            high = max(bars.high[row, inside].max(), auction)
            low = min(bars.low[row, inside].min(), auction)
            bars.official[row] = bars.open[row, inside[0]], high, low, auction, max(1.0, round(volume / factor))


def _waves(random: np.random.Generator, count: int, persistence: float, spread: float) -> Array:
    """Return an autoregressive series with this standard deviation."""
    noise = random.normal(0, spread * np.sqrt(1 - persistence**2), count)
    found, last = np.empty(count), random.normal(0, spread)
    for start in range(0, count, 64):  # a filter by blocks: powers of the persistence instead of a loop over minutes
        block = noise[start : start + 64]
        powers = persistence ** np.arange(len(block) + 1)
        sums = np.cumsum(block / powers[1:])
        found[start : start + 64] = powers[1:] * (last + sums)
        last = found[min(start + 63, count - 1)]
    return found


def _hours(extended: float) -> Array:
    """Return how busy each minute is; the regular session has a mean of about one."""
    minutes = np.arange(MINUTES)
    session = 0.55 + 1.6 * np.exp(-(minutes - OPEN) / 30) + 1.2 * np.exp((minutes - CLOSE) / 25)
    session = session - 0.25 * np.exp(-(((minutes - 525) / 45) ** 2))
    early = extended * np.exp((minutes - OPEN) / 90)
    late = extended * np.exp(-(minutes - CLOSE) / 60)
    return np.where(minutes < OPEN, early, np.where(minutes < CLOSE, session, late))
