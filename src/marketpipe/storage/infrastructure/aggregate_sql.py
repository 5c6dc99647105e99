"""The SQL that makes every wanted timeframe in one pass over the minutes.

Buckets are counted from the start of the hours they lie in: before the open, the regular session, after the close. So
no bucket straddles the open, the close or midnight, and every timeframe nests in the next: each is made from the one
before it. A daily bar is the regular session. Volume-weighted prices carry value and weight through the cascade.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from marketpipe.shared_kernel.domain.timeframe import Timeframe

MICROS_PER_MINUTE = 60_000_000
DAILY_SOURCE = Timeframe.MINUTE_5

READ_MINUTES = """
CREATE OR REPLACE TEMP TABLE level_1 AS
SELECT h.hours, h.day_start, h.regular, b.time, b.open, b.high, b.low, b.close, b.volume, b.trade_count,
       b.vwap * b.volume AS value, CASE WHEN b.vwap IS NOT NULL THEN b.volume END AS weight
FROM (SELECT *, epoch_us(timestamp) AS time FROM read_parquet($files, hive_partitioning = false)) AS b
ASOF JOIN hours AS h ON b.time >= h.hours
WHERE b.time < h.hours_end
"""

MAKE_LEVEL = """
CREATE OR REPLACE TEMP TABLE {target} AS
SELECT {hours} AS hours, any_value(day_start) AS day_start, any_value(regular) AS regular, {bucket} AS time,
       arg_min(open, time) AS open, max(high) AS high, min(low) AS low, arg_max(close, time) AS close,
       fsum(volume) AS volume, sum(trade_count)::BIGINT AS trade_count, fsum(value) AS value, fsum(weight) AS weight
FROM {source} {where} GROUP BY ALL
"""

READ_LEVEL = """
SELECT make_timestamptz(time) AS timestamp, open, high, low, close, volume, trade_count,
       CASE WHEN weight > 0 THEN value / weight END AS vwap
FROM {source} ORDER BY timestamp
"""


def cascade(timeframes: Sequence[Timeframe]) -> list[str]:
    """The statements that make a table of each timeframe, the finest first.

    Each is always made from the same one, whatever else is wanted: rounding depends on the order of additions.
    """
    coarsest = max((timeframe.minutes for timeframe in timeframes if timeframe.is_intraday), default=0)
    needed = max(coarsest, DAILY_SOURCE.minutes)
    chain = [timeframe for timeframe in Timeframe if timeframe.is_intraday and timeframe.minutes <= needed]
    statements = [_intraday(timeframe, table_of(source)) for source, timeframe in pairwise(chain)]
    return [*statements, _daily(table_of(DAILY_SOURCE))] if Timeframe.DAY_1 in timeframes else statements


def read_level(timeframe: Timeframe) -> str:
    return READ_LEVEL.format(source=table_of(timeframe))


def table_of(timeframe: Timeframe) -> str:
    return f"level_{timeframe.minutes}"


def _intraday(timeframe: Timeframe, source: str) -> str:
    step = timeframe.minutes * MICROS_PER_MINUTE
    bucket = f"hours + (time - hours) // {step} * {step}"
    return MAKE_LEVEL.format(target=table_of(timeframe), source=source, hours="hours", bucket=bucket, where="")


def _daily(source: str) -> str:
    target = table_of(Timeframe.DAY_1)
    return MAKE_LEVEL.format(target=target, source=source, hours="day_start", bucket="day_start", where="WHERE regular")
