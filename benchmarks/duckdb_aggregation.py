"""Aggregate a store of day files as a DuckDB expert would by hand; benchmarks/aggregate.py runs this script.

    python benchmarks/duckdb_aggregation.py DATA HOURS OUTPUT

DATA is the folder of the day files, HOURS a Parquet file with the hours of each session (three rows: before the open,
the regular session, after the close), OUTPUT gets a folder for each timeframe. The minutes are read once, on all
processors; each timeframe is computed from the next smaller one, with integer keys. The files are of the same kind as
MarketPipe's: zstd, one file for each symbol and month, and for daily bars one for each symbol and year. They are not
synced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

MINUTES = """
CREATE TEMP TABLE level_1 AS
SELECT b.symbol, b.year, b.month, h.hours, h.day_start, h.regular, epoch_us(b.timestamp) AS time,
       b.open, b.high, b.low, b.close, b.volume, b.trade_count,
       b.vwap * b.volume AS value, CASE WHEN b.vwap IS NOT NULL THEN b.volume END AS weight
FROM read_parquet('{data}/symbol=*/year=*/month=*/*.parquet', hive_partitioning = true) AS b
ASOF JOIN hours AS h ON epoch_us(b.timestamp) >= h.hours
WHERE epoch_us(b.timestamp) < h.hours_end
"""
LEVEL = """
CREATE TEMP TABLE level_{minutes} AS
SELECT symbol, year, month, hours, any_value(day_start) AS day_start, any_value(regular) AS regular, {bucket} AS time,
       arg_min(open, s.time) AS open, max(high) AS high, min(low) AS low, arg_max(close, s.time) AS close,
       sum(volume) AS volume, sum(trade_count)::BIGINT AS trade_count, sum(value) AS value, sum(weight) AS weight
FROM level_{source} AS s {where} GROUP BY symbol, year, month, hours, {bucket}
"""
WRITE = """
COPY (
    SELECT {partitions}, make_timestamptz(time) AS timestamp, open, high, low, close, volume, trade_count,
           CASE WHEN weight > 0 THEN value / weight END AS vwap
    FROM level_{minutes} ORDER BY symbol, time
) TO '{output}/timeframe={timeframe}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY ({partitions}))
"""
CASCADE = {"5m": (5, 1), "15m": (15, 5), "1h": (60, 15)}
"""The length of each timeframe in minutes, and the length of the timeframe it is computed from."""
MICROS_PER_MINUTE = 60_000_000


def main(data: Path, hours: Path, output: Path) -> None:
    output.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        # With fewer open files a month would get several files.
        connection.execute("SET partitioned_write_max_open_files = 10000")
        connection.execute(f"CREATE TEMP TABLE hours AS FROM read_parquet('{hours}') ORDER BY hours")
        connection.execute(MINUTES.format(data=data))
        for minutes, source in CASCADE.values():
            step = minutes * MICROS_PER_MINUTE
            bucket = f"hours + (s.time - hours) // {step} * {step}"
            connection.execute(LEVEL.format(minutes=minutes, source=source, bucket=bucket, where=""))
        connection.execute(LEVEL.format(minutes=1440, source=5, bucket="day_start", where="WHERE regular"))
        for timeframe, (minutes, _) in {**CASCADE, "1d": (1440, 5)}.items():
            partitions = "symbol, year" if timeframe == "1d" else "symbol, year, month"
            named = {"minutes": minutes, "timeframe": timeframe, "partitions": partitions}
            connection.execute(WRITE.format(output=output, **named))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
