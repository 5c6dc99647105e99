"""load_ohlcv against DuckDB and pyarrow.dataset, both pointed at the very folders by hand.

    python benchmarks/read.py [--symbols 500] [--bars-a-day 390] [--runs 7] [--folder DIR]

Three questions, each to a store of day files that is made first: a symbol-year, 100 symbols x 1 month, one day of 500
symbols. All give the same Arrow table: symbol, timestamp, prices, volume, trade count and volume-weighted price, by
symbol and then time. The peers are told where the files are and which symbols lie there, as one would who knows the
layout; nothing lists or filters more of the tree than it must. Before anything is measured the tables are compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from benchmarks.comparison import interleaved, print_table
from benchmarks.synthetic_store import FIRST, make_store, sessions_from, symbols_called

from marketpipe import load_ohlcv

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap")
HIVE = ds.partitioning(pa.schema([("symbol", pa.string()), ("year", pa.int32()), ("month", pa.int32())]), flavor="hive")
Question = tuple[list[str], str, str, Sequence[str]]
"""Symbols, first and last date, and for each symbol the files: a pattern below its folder."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500, help="of the day; a fifth of them for the month")
    parser.add_argument("--bars-a-day", type=int, default=390)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        for title, question in _questions(root, options.symbols, options.bars_a_day).items():
            _measure(title, _ways(root, question), options.runs)


def _questions(root: Path, count: int, bars_a_day: int) -> dict[str, Question]:
    """And the stores that they are put to."""
    symbols, year = symbols_called(count), sessions_from(252)
    month = [session for session in year if session.trading_date.day.month == FIRST.day.month]
    some = [str(symbol) for symbol in symbols[: max(1, count // 5)]]
    make_store(root, symbols[:1], year, bars_a_day, state=False)
    make_store(root, symbols[: len(some)], month, bars_a_day, state=False)
    make_store(root, symbols, month[1:2], bars_a_day, state=False)
    first, last, day = month[0].trading_date, month[-1].trading_date, month[1].trading_date
    within, one = f"year={first.day:%Y}/month={first.day:%m}", f"year={day.day:%Y}/month={day.day:%m}/day={day.day:%d}"
    return {
        "one symbol-year": ([some[0]], str(first), f"{first.day:%Y}-12-31", f"year={first.day:%Y}/*/*.parquet"),
        f"{len(some)} symbols x 1 month": (some, str(first), str(last), f"{within}/*.parquet"),
        f"one day of {count} symbols": ([str(symbol) for symbol in symbols], str(day), str(day), f"{one}.parquet"),
    }


def _ways(root: Path, question: Question) -> dict[str, Callable[[], pa.Table]]:
    symbols, first, last, pattern = question
    folders = [root / "data" / f"symbol={symbol}" for symbol in symbols]

    connection = duckdb.connect()  # once, and not measured

    def by_duckdb() -> pa.Table:
        files = [f"{folder}/{pattern}" for folder in folders]
        read = f"SELECT {', '.join(COLUMNS)} FROM read_parquet({files}, hive_partitioning = true)"
        return connection.sql(read).to_arrow_table()

    def by_dataset() -> pa.Table:
        files = [str(path) for folder in folders for path in sorted(folder.glob(pattern))]
        return ds.dataset(files, format="parquet", partitioning=HIVE).to_table(columns=list(COLUMNS))

    return {
        "DuckDB": by_duckdb,
        "pyarrow.dataset": by_dataset,
        "MarketPipe: load_ohlcv": lambda: load_ohlcv(symbols, first, last, root=root),
    }


def _measure(title: str, ways: dict[str, Callable[[], pa.Table]], runs: int) -> None:
    tables = [way() for way in ways.values()]  # which warms up as well
    ours = tables[-1]
    for name, table in zip(ways, tables, strict=True):
        if not table.cast(ours.schema).equals(ours):
            raise SystemExit(f"{name} read something else: {table.num_rows:,} rows, and MarketPipe {ours.num_rows:,}")
    peers = list(ways)[:-1]
    print_table(f"{title}, {ours.num_rows:,} bars", interleaved(ways, runs), peers, ours.num_rows, "bars")


if __name__ == "__main__":
    main()
