"""Compare load_ohlcv with DuckDB and pyarrow.dataset, which are given the exact files to read.

    python benchmarks/read.py [--symbols 500] [--bars-a-day 390] [--runs 7] [--folder DIR]

It makes a store of day files and runs three queries: one symbol-year, 100 symbols x 1 month, one day of 500 symbols.
All candidates return the same Arrow table, ordered by symbol and time: symbol, timestamp, prices, volume, trade count
and VWAP. The peers get the files and symbols by hand, as from a user who knows the layout, so they list and filter no
more of the tree than necessary. The tables are compared before anything is measured.
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
from benchmarks.comparison import measure_interleaved, parse_options, print_table
from benchmarks.synthetic_store import FIRST, first_sessions, make_store, numbered_symbols

from marketpipe import load_ohlcv

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap")
HIVE = ds.partitioning(pa.schema([("symbol", pa.string()), ("year", pa.int32()), ("month", pa.int32())]), flavor="hive")
Query = tuple[list[str], str, str, Sequence[str]]
"""Symbols, first and last date, and the pattern of the files below the folder of each symbol."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--symbols", type=int, default=500, help="symbols of the one-day query; the one-month query has a fifth of them"
    )
    parser.add_argument("--bars-a-day", type=int, default=390)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    options = parse_options(parser)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        for title, query in _make_queries(root, options.symbols, options.bars_a_day).items():
            _measure(title, _candidates(root, query), options.runs)


def _make_queries(root: Path, count: int, bars_a_day: int) -> dict[str, Query]:
    """Make the stores and return the queries on them, by title."""
    symbols, year = numbered_symbols(count), first_sessions(252)
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


def _candidates(root: Path, query: Query) -> dict[str, Callable[[], pa.Table]]:
    symbols, first, last, pattern = query
    folders = [root / "data" / f"symbol={symbol}" for symbol in symbols]

    connection = duckdb.connect()  # outside of the measurement

    def read_with_duckdb() -> pa.Table:
        files = [f"{folder}/{pattern}" for folder in folders]
        read = f"SELECT {', '.join(COLUMNS)} FROM read_parquet({files}, hive_partitioning = true)"
        return connection.sql(read).to_arrow_table()

    def read_with_dataset() -> pa.Table:
        files = [str(path) for folder in folders for path in sorted(folder.glob(pattern))]
        return ds.dataset(files, format="parquet", partitioning=HIVE).to_table(columns=list(COLUMNS))

    return {
        "DuckDB": read_with_duckdb,
        "pyarrow.dataset": read_with_dataset,
        "MarketPipe: load_ohlcv": lambda: load_ohlcv(symbols, first, last, root=root),
    }


def _measure(title: str, candidates: dict[str, Callable[[], pa.Table]], runs: int) -> None:
    tables = [candidate() for candidate in candidates.values()]  # warms up as well
    ours = tables[-1]
    for name, table in zip(candidates, tables, strict=True):
        if not table.cast(ours.schema).equals(ours):
            raise SystemExit(
                f"{name} read other bars than MarketPipe: {table.num_rows:,} rows, MarketPipe {ours.num_rows:,}"
            )
    peers = list(candidates)[:-1]
    print_table(f"{title}, {ours.num_rows:,} bars", measure_interleaved(candidates, runs), peers, ours.num_rows, "bars")


if __name__ == "__main__":
    main()
