"""Common alternatives to MarketPipe: write the same pages as one zstd Parquet file for each symbol and trading date.

``alpaca_py`` uses the provider's own library and a DataFrame; ``polars_script`` is what an expert would write in an
afternoon, with threads. Neither checks bars, syncs files, keeps a state or can continue after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import polars as pl
from benchmarks.least_work import utc_hours

NEW_YORK = "America/New_York"
SCHEMA = {"t": pl.String, **dict.fromkeys("ohlcv", pl.Float64), "n": pl.Int64, "vw": pl.Float64}


def alpaca_py(url: str, symbols: Sequence[str], first: str, last: str, folder: Path) -> int:
    """Return the number of bars."""
    from alpaca.data.enums import DataFeed
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest
    from alpaca.data.timeframe import TimeFrame

    start, end = map(datetime.fromisoformat, utc_hours(first, last))
    request = StockBarsRequest(
        symbol_or_symbols=list(symbols), timeframe=TimeFrame.Minute, start=start, end=end, feed=DataFeed.SIP
    )
    frame = StockHistoricalDataClient("key", "secret", url_override=url).get_stock_bars(request).df.reset_index()
    frame["day"] = frame["timestamp"].dt.tz_convert(NEW_YORK).dt.date
    for (symbol, day), part in frame.groupby(["symbol", "day"]):
        part.drop(columns=["symbol", "day"]).to_parquet(_file(folder, symbol, day), compression="zstd")
    return len(frame)


def polars_script(url: str, symbols: Sequence[str], first: str, last: str, folder: Path, threads: int) -> int:
    """Return the number of bars. The symbols are split into two shares for each thread; each share is one query."""
    shares = [share for n in range(2 * threads) if (share := symbols[n :: 2 * threads])]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda share: _ingest_share(url, share, first, last, folder), shares))


def _ingest_share(url: str, symbols: Sequence[str], first: str, last: str, folder: Path) -> int:
    start, end = utc_hours(first, last)
    query = {"symbols": ",".join(symbols), "timeframe": "1Min", "start": start, "end": end, "limit": "10000"}
    pages: list[pl.DataFrame] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        while query:
            page = client.get("/v2/stocks/bars", params=query).raise_for_status().json()
            pages += [
                pl.DataFrame(bars, schema=SCHEMA).with_columns(symbol=pl.lit(symbol))
                for symbol, bars in page["bars"].items()
            ]
            query = {**query, "page_token": page["next_page_token"]} if page["next_page_token"] else {}
    moment = pl.col("t").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    bars = pl.concat(pages).with_columns(timestamp=moment, day=moment.dt.convert_time_zone(NEW_YORK).dt.date())
    for (symbol, day), part in bars.partition_by("symbol", "day", as_dict=True, include_key=False).items():
        part.drop("t").write_parquet(_file(folder, symbol, day), compression="zstd", compression_level=1)
    return len(bars)


def _file(folder: Path, symbol: object, day: object) -> Path:
    year, month, number = str(day).split("-")
    month_folder = folder / f"symbol={symbol}" / f"year={year}" / f"month={month}"
    month_folder.mkdir(parents=True, exist_ok=True)
    return month_folder / f"day={number}.parquet"
