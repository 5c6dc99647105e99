"""A store with two days in each of four months, and functions that find which of its aggregate files were rewritten."""

from __future__ import annotations

from pathlib import Path

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk

MONTHS = ("2023-12", "2024-01", "2024-03", "2024-04")
FILES = 5 * len(MONTHS) + 2
"""Five intraday timeframes by month, daily bars by year."""

Fingerprint = dict[str, tuple[int, int]]
"""The inode and modification time of each file; a rewritten file has another inode."""


def keep(store: StoreOnDisk, date: str, *prices: float, symbol: str = "AAPL") -> None:
    store.keep((day(symbol, date), [bar(f"{date}T15:{minute:02d}:00Z", price) for minute, price in enumerate(prices)]))


def aggregated_store(root: Path) -> StoreOnDisk:
    store = StoreOnDisk(root)
    for month in MONTHS:
        keep(store, f"{month}-04", 10.0, 11.0)
        keep(store, f"{month}-05", 20.0)
    store.refresh("AAPL")
    return store


def fingerprint(store: StoreOnDisk) -> Fingerprint:
    root = store.layout.aggregates
    stats = {str(path.relative_to(root)): path.stat() for path in root.rglob("*.parquet")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def written(before: Fingerprint, after: Fingerprint) -> set[str]:
    """Return the files that were replaced, without those of which only the time changed."""
    return {name for name, (inode, _) in after.items() if before.get(name, (0, 0))[0] != inode}


def files_of(month: str, symbol: str = "AAPL") -> set[str]:
    """Return the aggregates that are made from the minutes of one month."""
    year, number = month.split("-")
    intraday = {f"timeframe={tf}/symbol={symbol}/year={year}/month={number}.parquet" for tf in AGGREGATED[:-1]}
    return intraday | {f"timeframe=1d/symbol={symbol}/year={year}.parquet"}


def daily_closes(store: StoreOnDisk, year: str = "2024") -> dict[str, float]:
    rows = store.rows(store.aggregate_path("AAPL", Timeframe.DAY_1, f"{year}-01"))
    return {f"{row['timestamp']:%Y-%m-%d}": row["close"] for row in rows}
