"""Make a store of synthetic day files in MarketPipe's layout quickly, without a provider.

    python benchmarks/synthetic_store.py FOLDER [--symbols 52] [--sessions 250] [--bars-a-day 390] [--no-state]

The files are as after an ingestion (columns, encoding, metadata), but not synced. Their checkpoints are recorded in the
state for planning, status, coverage and verify; readers and aggregation work without. The same arguments give the same
bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
from benchmarks.comparison import parse_options
from benchmarks.synthetic_pages import minutes_of

from marketpipe import DatasetIdentity, SessionHours, SessionKind, StoredSymbolDay, Symbol, SymbolDay
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar
from marketpipe.storage.domain.data_partition import DataPartition
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, sha256, traded_minutes

IDENTITY = DatasetIdentity("synthetic", "seed-7", "raw")
SINCE = Timestamp(datetime(2026, 1, 5, tzinfo=UTC))
FIRST, LATEST = TradingDate.parse("2024-01-02"), TradingDate.parse("2025-12-31")
SECOND = 1_000_000


def numbered_symbols(count: int) -> list[Symbol]:
    return [Symbol(f"S{number:04}") for number in range(count)]


def first_sessions(count: int, first: TradingDate = FIRST) -> tuple[TradingSession, ...]:
    return ExchangeCalendar(LATEST).sessions(first, LATEST)[:count]


def make_store(
    root: Path, symbols: Sequence[Symbol], sessions: Sequence[TradingSession], bars_a_day: int, *, state: bool = True
) -> int:
    """Make a store below ``root`` with the default folder names; return the number of bars. Short days have fewer."""
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        days_by_symbol = executor.map(
            lambda number: _make_symbol(root, symbols[number], number, sessions, bars_a_day), range(len(symbols))
        )
        stored = list(days_by_symbol)
    if state:
        _record(root, [day for days in stored for day in days], sessions)
    return sum(day.rows for days in stored for day in days)


def write_day(root: Path, symbol: Symbol, session: TradingSession, bars: pa.Table) -> bytes:
    """Write one day file over the one that may exist; return its bytes."""
    day = SymbolDay(symbol, session.trading_date)
    label = StorageMetadata(IDENTITY, symbol, str(session.trading_date), Timeframe.MINUTE_1, SCHEMA_VERSION)
    content, path = ParquetWriter("zstd").encode_bars(bars, label.as_mapping()), root / "data" / DataPartition(day).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(SINCE.epoch_micros * 1000,) * 2)
    return content


def synthetic_bars(session: TradingSession, count: int, seed: Sequence[int]) -> pa.Table:
    """Return ``count`` bars of a random walk in cents, from a start between 50 and 250 dollars."""
    random, times = np.random.default_rng(seed), np.array(minutes_of(session, count)) * SECOND
    count = len(times)
    close = 5000 + random.integers(0, 20_000) + np.cumsum(random.integers(-6, 7, count))
    open_ = np.concatenate([close[:1], close[:-1]]) + random.integers(-1, 2, count)
    high = np.maximum(open_, close) + random.integers(0, 5, count)
    low = np.minimum(open_, close) - random.integers(0, 5, count)
    volume = np.round(random.lognormal(8, 1, count)) + 1
    vwap = np.round((low + (high - low) * random.random(count)) / 100, 6)
    prices = [side / 100 for side in (open_, high, low, close)]
    return pa.table([times, *prices, volume, (volume // 90).astype(np.int64) + 1, vwap], schema=BAR_SCHEMA)


def _make_symbol(
    root: Path, symbol: Symbol, number: int, sessions: Sequence[TradingSession], bars_a_day: int
) -> list[StoredSymbolDay]:
    return [
        _make_day(root, symbol, session, synthetic_bars(session, bars_a_day, (number, place)))
        for place, session in enumerate(sessions)
    ]


def _make_day(root: Path, symbol: Symbol, session: TradingSession, bars: pa.Table) -> StoredSymbolDay:
    content, times = write_day(root, symbol, session, bars), bars["timestamp"].cast(pa.int64()).to_numpy()
    first, last = (Timestamp.from_epoch_micros(int(times[row])) for row in (0, -1))
    day, minutes = SymbolDay(symbol, session.trading_date), traded_minutes(session.trading_date, times)
    mark = file_mark(len(content), SINCE.epoch_micros * 1000)
    size, digest = len(content), sha256(content)
    return StoredSymbolDay(
        day, len(times), 0, True, first, last, size, digest, minutes=minutes, known_since=SINCE, mark=mark
    )


def _record(root: Path, stored: Sequence[StoredSymbolDay], sessions: Sequence[TradingSession]) -> None:
    state = SQLiteState(root / "state" / "marketpipe.sqlite", "../data")
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)
    for first in range(0, len(stored), len(sessions)):
        state.checkpoints.record(1, SINCE, [_answer(day) for day in stored[first : first + len(sessions)]])
    state.close()


def _answer(stored: StoredSymbolDay) -> Answer:
    outcome = SymbolDayOutcome(stored.symbol_day, Outcome.COMPLETE, stored.rows)
    return outcome, SessionHours.EXTENDED, stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", metavar="FOLDER", type=Path, help="where to make the store")
    parser.add_argument("--symbols", type=int, default=52)
    parser.add_argument("--sessions", type=int, default=250)
    parser.add_argument("--bars-a-day", type=int, default=390)
    parser.add_argument("--no-state", action="store_true")
    options = parse_options(parser)
    symbols, sessions = numbered_symbols(options.symbols), first_sessions(options.sessions)
    bars = make_store(options.target, symbols, sessions, options.bars_a_day, state=not options.no_state)
    print(f"{options.target}: {bars:,} bars in {len(symbols) * len(sessions):,} day files")


if __name__ == "__main__":
    main()
