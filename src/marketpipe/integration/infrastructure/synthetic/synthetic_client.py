"""A market data provider without a market, for tests, demonstrations and trying things out without a key.

The bars of one symbol on one trading date are drawn from (seed, symbol, date) and from nothing else.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketpipe.integration.domain.data_feed import AT_THE_CLOSE, DataFeed, ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import MINUTES_A_DAY, TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, TIMESTAMP

BARS_PER_PAGE = 10_000
OFFICIAL_DAYS_PER_PAGE = 100
"""Each is computed from the minutes of its day; a stop waits for the page in work."""
TICK = 0.01
"""Prices are multiples of this, in dollars."""
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


NOTICE: Final = (
    "these bars are invented: the synthetic provider computes them from its seed, whatever the symbol. Nothing in them "
    "was ever traded; 'marketpipe sample' has real ones without keys"
)


class SyntheticClient:
    """Gives invented bars that look real and are the same on every machine.

    The same seed, symbol and date give the same bars, whatever else is requested. It never reads the clock.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @property
    def capabilities(self) -> ProviderCapabilities:
        """The seed is part of the feed's name, because two seeds are two datasets, which a store must not mix."""
        feed = DataFeed(f"seed-{self._seed}", timedelta(), NOTICE)
        return ProviderCapabilities(
            "synthetic", feed, "raw", BARS_PER_PAGE, 1000, official_days=True, closing_auction=AT_THE_CLOSE
        )

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        """Yield pages of complete symbol-days: at most 10,000 minutes, or 100 official days, which agree with them."""
        official = request.timeframe is Timeframe.DAY_1
        bars_of, most = (self._official, OFFICIAL_DAYS_PER_PAGE) if official else (self._day, BARS_PER_PAGE)
        days: list[tuple[Symbol, pa.Table]] = []
        rows = 0
        for symbol in sorted(request.symbols):
            for asked in request.sessions:
                day = bars_of(symbol, asked)
                if days and rows + len(day) > most:
                    yield _page(days, next_cursor=f"{symbol}|{asked.trading_date}")
                    days, rows = [], 0
                days.append((symbol, day))
                rows += len(day)
        yield _page(days, next_cursor=None)

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        for page in self.fetch_batch(request):
            yield page

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _official(self, symbol: Symbol, asked: AskedSession) -> pa.Table:
        return official_day(
            synthetic_day(self._seed, SymbolDay(symbol, asked.trading_date), asked.session), asked.session
        )

    def _day(self, symbol: Symbol, asked: AskedSession) -> pa.Table:
        day = synthetic_day(self._seed, SymbolDay(symbol, asked.trading_date), asked.session)
        stamps = day["timestamp"].cast(pa.int64()).to_numpy()
        start, end = asked.window.start.epoch_micros, asked.window.end.epoch_micros
        return day.slice(int(stamps.searchsorted(start)), int(stamps.searchsorted(end) - stamps.searchsorted(start)))


def _page(days: list[tuple[Symbol, pa.Table]], next_cursor: str | None) -> RawMarketData:
    table = pa.concat_tables([day for _, day in days]) if days else BAR_SCHEMA.empty_table()
    return RawMarketData(table, tuple(SymbolRun(symbol, len(day)) for symbol, day in days), next_cursor)


def synthetic_day(seed: int, symbol_day: SymbolDay, session: TradingSession) -> pa.Table:
    """Return the bars of the extended session: busy at the open and the close, sparse outside regular hours."""
    character = _generator(seed, str(symbol_day.symbol))
    liquidity, base = character.uniform(0.45, 1.0), math.exp(character.uniform(math.log(8), math.log(600)))
    waves = character.uniform(0.0, 1.0, (4, 2))
    draw = _generator(seed, str(symbol_day.symbol), str(symbol_day.trading_date))
    # drawn for a day of usual length and cut, so that a half day begins like any other
    start, end = session.extended.start.epoch_micros, session.extended.end.epoch_micros
    minutes = start + np.arange(MINUTES_A_DAY) * MICROS_PER_MINUTE
    activity = _activity(minutes, session.regular)
    traded = draw.uniform(size=len(minutes)) < np.where(activity > 0.1, 0.55 + 0.45 * liquidity, 0.25 * liquidity)
    ordinal = symbol_day.trading_date.day.toordinal()
    path = _path(draw, base * _level(waves, ordinal), base * _level(waves, ordinal + 1), activity)
    bars = _bars(draw, minutes[traded], path[:-1][traded], path[1:][traded], (activity * liquidity * 60_000)[traded])
    return bars.slice(0, int(minutes[traded].searchsorted(end)))


def official_day(minutes: pa.Table, session: TradingSession) -> pa.Table:
    """Return the official daily bar of these minutes of the extended session; no row without a regular minute.

    The closing auction is the first price of the minute that begins at the close. As exchanges do it: prices are those
    of the regular session with its auction, volume is that of all hours.
    """
    stamps = minutes["timestamp"].cast(pa.int64()).to_numpy()
    first, end = (int(stamps.searchsorted(edge.epoch_micros)) for edge in (session.opens, session.closes))
    if first == end:
        return BAR_SCHEMA.empty_table()
    column = {name: minutes[name].to_numpy() for name in BAR_SCHEMA.names}
    auction = column["open"][end : end + int(end < len(stamps) and stamps[end] == session.closes.epoch_micros)]
    high, low = (np.append(column[name][first:end], auction) for name in ("high", "low"))
    close = auction[0] if len(auction) else column["close"][end - 1]
    volume = column["volume"].sum()
    vwap = np.round((column["vwap"] * column["volume"]).sum() / volume, 4)
    row = column["open"][first], high.max(), low.min(), close, volume, column["trade_count"].sum(), vwap
    stamp = pa.array([session.trading_date.midnight.epoch_micros], pa.int64()).cast(TIMESTAMP)
    return pa.table([stamp, *(pa.array([value]) for value in row)], schema=BAR_SCHEMA)


def _generator(*parts: object) -> np.random.Generator:
    """Return a generator seeded by the parts: by a hash, which unlike Python's own is the same in every process."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def _activity(minutes: Int64s, regular: TimeWindow) -> Floats:
    """Return the activity of each minute, 1 for a busy one: a U over the regular session, little outside of it."""
    start, end = regular.start.epoch_micros, regular.end.epoch_micros
    position = (minutes - start) / (end - start)
    inside = (position >= 0) & (position < 1)
    share: Floats = np.where(inside, 0.25 + 3.0 * (position - 0.5) ** 2, 0.02)
    return share


def _level(waves: Floats, ordinal: int) -> float:
    """Return the price level of a day as a sum of waves: a random walk would have to start at the first day."""
    periods = 9.0 + 400.0 * waves[:, 0] ** 2
    return float(np.exp(0.02 * np.sqrt(periods / 9.0) @ np.sin(2 * np.pi * (ordinal / periods + waves[:, 1])) / 4))


def _path(draw: np.random.Generator, start: float, end: float, activity: Floats) -> Floats:
    """Return a random bridge from a day's price to the next day's, one point more than there are minutes."""
    steps = draw.standard_normal(len(activity)) * np.sqrt(activity) * 0.0006
    walk = np.concatenate([[0.0], np.cumsum(steps)])
    share = np.linspace(0.0, 1.0, len(walk))
    path: Floats = np.exp(math.log(start) + share * math.log(end / start) + walk - share * walk[-1])
    return path


def _bars(draw: np.random.Generator, minutes: Int64s, begin: Floats, end: Floats, busy: Floats) -> pa.Table:
    opens, closes = _ticks(begin), _ticks(end)
    spread = np.abs(draw.standard_normal((2, len(minutes)))) * begin * 0.0003
    high = np.maximum(np.maximum(opens, closes), _ticks(begin + spread[0]))
    low = np.minimum(np.minimum(opens, closes), _ticks(begin - spread[1]))
    volume = np.maximum(1.0, np.round(busy * draw.lognormal(0.0, 0.7, len(minutes))))
    vwap = np.clip(np.round((opens + high + low + closes) / 4, 4), low, high)
    trades = np.maximum(1, (volume / draw.uniform(40, 160, len(minutes))).astype(np.int64))
    stamps = pa.array(minutes, pa.int64()).cast(TIMESTAMP)
    return pa.table([stamps, opens, high, low, closes, volume, trades, vwap], schema=BAR_SCHEMA)


def _ticks(prices: Floats) -> Floats:
    return np.maximum(TICK, np.round(prices, 2))
