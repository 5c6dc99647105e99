"""The SQL that makes every wanted timeframe in one pass over the minutes, in one statement.

Buckets are counted from the start of the hours they lie in: before the open, the regular session, after the close. So
no bucket straddles the open, the close or midnight, and every timeframe nests in the next: each is made from the one
before it. For daily bars there is one of all these hours; the regular session is chosen of them later. Volume-weighted
prices carry value and weight through the cascade.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from marketpipe.shared_kernel.domain.timeframe import Timeframe

MICROS_PER_MINUTE = 60_000_000
DAILY_SOURCE = Timeframe.MINUTE_5
MINUTES = """
level_1 AS (
SELECT hours, time, open, high, low, close, volume, trade_count,
       vwap * volume AS value, CASE WHEN vwap IS NOT NULL THEN volume END AS weight
FROM minutes)"""

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


def cascade(timeframes: Sequence[Timeframe]) -> str:
    """From ``minutes``, with their hours, to all the bars: by the ``minutes`` of their timeframe, then time.

    Each timeframe is always made from the same one, whatever else is wanted: rounding depends on the order of
    additions.
    """
    levels, selects = ",".join([MINUTES, *_levels(timeframes)]), " UNION ALL ".join(map(_read, timeframes))
    return f"WITH {levels} {selects} ORDER BY minutes, time"


def _levels(timeframes: Sequence[Timeframe]) -> list[str]:
    """The finest first."""
    coarsest = max((timeframe.minutes for timeframe in timeframes if timeframe.is_intraday), default=0)
    needed = max(coarsest, DAILY_SOURCE.minutes)
    chain = [timeframe for timeframe in Timeframe if timeframe.is_intraday and timeframe.minutes <= needed]
    levels = [_intraday(timeframe, _level(source)) for source, timeframe in pairwise(chain)]
    return [*levels, _made(Timeframe.DAY_1, _level(DAILY_SOURCE), "hours")] if Timeframe.DAY_1 in timeframes else levels


def _intraday(timeframe: Timeframe, source: str) -> str:
    step = timeframe.minutes * MICROS_PER_MINUTE
    # with its table, or it would be grouped by what is called time in the end
    return _made(timeframe, source, f"hours + ({source}.time - hours) // {step} * {step}")


def _made(timeframe: Timeframe, source: str, bucket: str) -> str:
    return LEVEL.format(target=_level(timeframe), source=source, bucket=bucket)


def _read(timeframe: Timeframe) -> str:
    return READ.format(minutes=timeframe.minutes, source=_level(timeframe))


def _level(timeframe: Timeframe) -> str:
    return f"level_{timeframe.minutes}"
