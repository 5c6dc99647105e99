"""Aggregation by DuckDB's SQL, on one thread: what the columns of ``buckets.py`` must agree with to the last bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.storage.infrastructure.aggregates.cascade import MADE_FROM, needed

MINUTES = """
level_1 AS (
SELECT hours, time, open, high, low, close, volume, trade_count,
       vwap * volume AS value, CASE WHEN vwap IS NOT NULL THEN volume END AS weight
FROM minutes)"""
WITH_AUCTIONS = """
of_days AS (
SELECT * FROM level_5 UNION ALL
SELECT hours, time, open, open AS high, open AS low, open AS close, volume, trade_count,
       vwap * volume AS value, CASE WHEN vwap IS NOT NULL THEN volume END AS weight
FROM auctions),"""
LEVEL = """
{target} AS MATERIALIZED (
SELECT hours, {bucket} AS time,
       arg_min(open, time) AS open, max(high) AS high, min(low) AS low, arg_max(close, time) AS close,
       fsum(volume) AS volume, sum(trade_count)::BIGINT AS trade_count, fsum(value) AS value, fsum(weight) AS weight
FROM {source} GROUP BY hours, {bucket})"""
READ = """
SELECT {minutes} AS minutes, time, open, high, low, close, volume, trade_count,
       CASE WHEN weight > 0 THEN value / weight END AS vwap
FROM {source}"""


def made_by_sql(minutes: pa.Table, auctions: pa.Table, timeframes: Sequence[Timeframe]) -> Mapping[Timeframe, pa.Table]:
    """Return what ``buckets.made_of`` returns."""
    levels = ",".join([MINUTES, *map(_level, needed(timeframes))])
    reads = (READ.format(minutes=each.minutes, source=f"level_{each.minutes}") for each in timeframes)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("minutes", minutes)
        connection.register("auctions", auctions)
        made = connection.sql(f"WITH {levels} {' UNION ALL '.join(reads)} ORDER BY minutes, time").to_arrow_table()
    length = made["minutes"].to_numpy()
    return {each: made.filter(length == each.minutes).drop_columns("minutes") for each in timeframes}


def _level(timeframe: Timeframe) -> str:
    target, source = f"level_{timeframe.minutes}", f"level_{MADE_FROM[timeframe].minutes}"
    if timeframe is Timeframe.DAY_1:
        return WITH_AUCTIONS + LEVEL.format(target=target, source="of_days", bucket="hours")
    step = timeframe.minutes * MICROS_PER_MINUTE
    return LEVEL.format(target=target, source=source, bucket=f"hours + ({source}.time - hours) // {step} * {step}")
