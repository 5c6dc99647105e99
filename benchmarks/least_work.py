"""Turn a provider's pages into durable day files with the least possible work: no rules, no state, no metrics.

It uses httpx, msgspec and Arrow, and writes one zstd Parquet file for each symbol and trading date: under a temporary
name, synced, renamed, the folder synced. The trading date is the date four hours behind UTC, which is right for every
bar from 04:00 to 20:00 New York time, in summer and in winter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TIMESTAMP = pa.timestamp("us", tz="UTC")
FOUR_HOURS, DAY = 4 * 3_600_000_000, 86_400_000_000


class Bar(msgspec.Struct, gc=False):
    t: str
    o: float
    h: float
    l: float  # noqa: E741 - Alpaca's own name
    c: float
    v: float
    n: int | None = None
    vw: float | None = None


class Page(msgspec.Struct, gc=False):
    bars: dict[str, list[Bar]]
    next_page_token: str | None = None


DECODER = msgspec.json.Decoder(Page)


def ingest(url: str, symbols: Sequence[str], first: str, last: str, folder: Path, threads: int) -> int:
    """Return the number of bars. The symbols are split into two shares for each thread; each share is one query."""
    shares = [share for n in range(2 * threads) if (share := symbols[n :: 2 * threads])]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda share: _ingest(url, share, first, last, folder), shares))


def _ingest(url: str, symbols: Sequence[str], first: str, last: str, folder: Path) -> int:
    count, pending = 0, dict[str, list[Bar]]()
    for page in _pages(url, symbols, *utc_hours(first, last)):
        for symbol, bars in page.bars.items():
            count += len(bars)
            for other in [name for name in pending if name != symbol]:
                _write_days(folder, other, pending.pop(other), last=True)
            pending[symbol] = _write_days(folder, symbol, pending.pop(symbol, []) + bars, last=False)
    for symbol, bars in pending.items():
        _write_days(folder, symbol, bars, last=True)
    return count


def utc_hours(first: str, last: str) -> tuple[str, str]:
    """Return the bounds of a query in UTC: every extended session from ``first`` to ``last`` is inside."""
    return f"{first}T04:00:00Z", f"{date.fromisoformat(last) + timedelta(days=1)}T03:59:59Z"


def _pages(url: str, symbols: Sequence[str], start: str, end: str) -> Iterator[Page]:
    query = {"symbols": ",".join(symbols), "timeframe": "1Min", "start": start, "end": end, "limit": "10000"}
    with httpx.Client(base_url=url, timeout=60) as client:
        while True:
            page = DECODER.decode(client.get("/v2/stocks/bars", params=query).raise_for_status().content)
            yield page
            if page.next_page_token is None:
                return
            query["page_token"] = page.next_page_token


def _write_days(folder: Path, symbol: str, bars: list[Bar], *, last: bool) -> list[Bar]:
    """Write the bars of one symbol by day. Unless ``last``, return the last day's bars: more of them may follow."""
    table = _table(bars)
    days = (table["timestamp"].cast(pa.int64()).to_numpy() - FOUR_HOURS) // DAY
    cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(bars)]
    end = len(cuts) if last else len(cuts) - 1
    for start, stop in pairwise(cuts[:end]):
        year, month, day = str(np.datetime64(int(days[start]), "D")).split("-")
        month_folder = folder / f"symbol={symbol}" / f"year={year}" / f"month={month}"
        _write(month_folder, f"day={day}.parquet", table.slice(start, stop - start))
    return [] if last else bars[cuts[-2] :]


def _table(bars: list[Bar]) -> pa.Table:
    columns = {
        "timestamp": pa.array([bar.t for bar in bars], pa.string()).cast(TIMESTAMP),
        "open": pa.array([bar.o for bar in bars], pa.float64()),
        "high": pa.array([bar.h for bar in bars], pa.float64()),
        "low": pa.array([bar.l for bar in bars], pa.float64()),
        "close": pa.array([bar.c for bar in bars], pa.float64()),
        "volume": pa.array([bar.v for bar in bars], pa.float64()),
        "trade_count": pa.array([bar.n for bar in bars], pa.int64()),
        "vwap": pa.array([bar.vw for bar in bars], pa.float64()),
        "schema_version": pa.repeat(pa.scalar(1, pa.int32()), len(bars)),
    }
    return pa.table(columns)


def _write(folder: Path, name: str, table: pa.Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.tmp", "wb") as file:
        pq.write_table(table, file, compression="zstd", compression_level=1, use_dictionary=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(folder / f"{name}.tmp", folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
