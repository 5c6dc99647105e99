"""Files of bars in the documented formats of their sources, with invented prices."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
from attrs import frozen

from marketpipe.integration.infrastructure.synthetic.synthetic_client import official_day, synthetic_day
from marketpipe.shared_kernel.domain.trading_date import TradingSession
from marketpipe.testing import sessions
from tests.support.builders import day
from tests.support.scripted_provider import Row

NEW_YORK = ZoneInfo("America/New_York")
SEED = 7
FIRST, LAST = "2024-01-02", "2024-01-03"


@frozen
class Market:
    """The invented minutes of one symbol in some sessions, of the regular hours unless they are ``extended``."""

    symbol: str = "AAPL"
    first: str = FIRST
    last: str = LAST
    extended: bool = True

    @property
    def sessions(self) -> Sequence[TradingSession]:
        return sessions(self.first, self.last)

    def table(self) -> pa.Table:
        return pa.concat_tables([self._day(session) for session in self.sessions])

    def rows(self) -> list[Row]:
        rows: list[Row] = self.table().to_pylist()
        return rows

    def days(self) -> pa.Table:
        """Return the official daily bars of these sessions."""
        whole = [(synthetic_day(SEED, day(self.symbol, str(s.trading_date)), s), s) for s in self.sessions]
        return pa.concat_tables([official_day(minutes, session) for minutes, session in whole])

    def _day(self, session: TradingSession) -> pa.Table:
        minutes = synthetic_day(SEED, day(self.symbol, str(session.trading_date)), session)
        if self.extended:
            return minutes
        stamps = minutes["timestamp"].cast(pa.int64()).to_numpy()
        start, end = (stamps.searchsorted(edge.epoch_micros) for edge in (session.opens, session.closes))
        return minutes.slice(int(start), int(end - start))


def quantconnect(folder: Path, market: Market) -> list[Path]:
    """Write equity/usa/minute/aapl/20240102_trade.zip …: milliseconds since midnight in New York, deci-cents."""
    paths = []
    for session in market.sessions:
        name = str(session.trading_date).replace("-", "")
        lines = []
        for row in Market(market.symbol, str(session.trading_date), str(session.trading_date)).rows():
            local = row["timestamp"].astimezone(NEW_YORK)
            millis = ((local.hour * 60 + local.minute) * 60 + local.second) * 1000
            prices = (round(row[name] * 10_000) for name in ("open", "high", "low", "close"))
            lines.append(",".join(map(str, (millis, *prices, int(row["volume"])))))
        path = folder / "equity" / "usa" / "minute" / market.symbol.lower() / f"{name}_trade.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}_{market.symbol.lower()}_minute_trade.csv", "\n".join(lines) + "\n")
        paths.append(path)
    return paths


def databento(path: Path, markets: Iterable[Market], *, pretty: bool) -> Path:
    """Write ohlcv-1m with its symbols, with decimal prices and ISO 8601 times, or with integers as in DBN."""
    lines = ["ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol"]
    for number, market in enumerate(markets, 1):
        for row in market.rows():
            prices = [round(row[name] * 10**9) for name in ("open", "high", "low", "close")]
            nanos = int(row["timestamp"].timestamp()) * 10**9
            at = f"{row['timestamp']:%Y-%m-%dT%H:%M:%S}.000000000Z" if pretty else str(nanos)
            shown = [f"{price // 10**9}.{price % 10**9:09d}" if pretty else str(price) for price in prices]
            lines.append(",".join([at, "33", "2", str(number), *shown, str(int(row["volume"])), market.symbol]))
    return _written(path, lines)


def massive(path: Path, markets: Iterable[Market]) -> Path:
    """Write a compressed flat file of all symbols, by symbol, then time."""
    lines = ["ticker,volume,open,close,high,low,window_start,transactions"]
    for market in markets:
        for row in market.rows():
            prices = (f"{row[name]:g}" for name in ("open", "close", "high", "low"))
            nanos = int(row["timestamp"].timestamp()) * 10**9
            lines.append(
                ",".join([market.symbol, str(int(row["volume"])), *prices, str(nanos), str(row["trade_count"])])
            )
    return _written(path, lines)


def kibot(path: Path, market: Market) -> Path:
    """Write date, time in New York, open, high, low, close and volume, without a header."""
    lines = []
    for row in market.rows():
        local = row["timestamp"].astimezone(NEW_YORK)
        prices = (f"{row[name]:g}" for name in ("open", "high", "low", "close"))
        lines.append(",".join([f"{local:%m/%d/%Y}", f"{local:%H:%M}", *prices, str(int(row["volume"]))]))
    return _written(path, lines)


def yahoo(path: Path, market: Market) -> Path:
    """Write the daily history that Yahoo's page downloads."""
    lines = ["Date,Open,High,Low,Close,Adj Close,Volume"]
    for row in market.days().to_pylist():
        prices = [f"{row[name]:.6f}" for name in ("open", "high", "low", "close")]
        adjusted = f"{row['close'] * 0.99:.6f}"
        date = row["timestamp"].astimezone(NEW_YORK).date()
        lines.append(",".join([str(date), *prices, adjusted, str(int(row["volume"]))]))
    return _written(path, lines)


def _written(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
