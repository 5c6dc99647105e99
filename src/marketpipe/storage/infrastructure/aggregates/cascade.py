"""The SQL that makes bars of every timeframe from minutes: for files of aggregates, and for views without files.

Buckets are counted from the start of their part of a session, so none crosses the open, the close or midnight, and each
timeframe is made from a shorter one that divides it. Volume-weighted prices carry value and weight through the cascade.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE

# Each timeframe is always made from the same one, whatever else is wanted: a sum of doubles depends on the order of the
# additions, and the bytes of a file may not depend on which other files were stale.
MADE_FROM: Final = {
    Timeframe.MINUTE_2: Timeframe.MINUTE_1,
    Timeframe.MINUTE_3: Timeframe.MINUTE_1,
    Timeframe.MINUTE_5: Timeframe.MINUTE_1,
    Timeframe.MINUTE_10: Timeframe.MINUTE_5,
    Timeframe.MINUTE_15: Timeframe.MINUTE_5,
    Timeframe.MINUTE_30: Timeframe.MINUTE_15,
    Timeframe.HOUR_1: Timeframe.MINUTE_30,
    Timeframe.HOUR_2: Timeframe.HOUR_1,
    Timeframe.HOUR_4: Timeframe.HOUR_1,
    Timeframe.DAY_1: Timeframe.MINUTE_5,
}

MINUTES = """
level_1 AS (
SELECT {keys}, time, open, high, low, close, volume, trade_count,
       vwap * volume AS value, CASE WHEN vwap IS NOT NULL THEN volume END AS weight
FROM minutes)"""

# Of the auction's minute one price is the auction's, the first: those after it are of the late hours. Its volume cannot
# be divided, and the auction is nearly all of it.
WITH_AUCTIONS = """
of_days AS (
SELECT * FROM level_5 UNION ALL
SELECT {keys}, time, open, open AS high, open AS low, open AS close, volume, trade_count,
       vwap * volume AS value, CASE WHEN vwap IS NOT NULL THEN volume END AS weight
FROM auctions)"""

LEVEL = """
{target} AS {materialized} (
SELECT {keys}, {bucket} AS time,
       arg_min(open, time) AS open, max(high) AS high, min(low) AS low, arg_max(close, time) AS close,
       fsum(volume{order}) AS volume, sum(trade_count)::BIGINT AS trade_count,
       fsum(value{order}) AS value, fsum(weight{order}) AS weight
FROM {source} GROUP BY {keys}, {bucket})"""

READ = """
SELECT {minutes} AS minutes, time, open, high, low, close, volume, trade_count,
       CASE WHEN weight > 0 THEN value / weight END AS vwap
FROM {source}"""


def cascade(timeframes: Sequence[Timeframe]) -> str:
    """Return the SQL that makes all bars of one symbol, ordered by the length of timeframe, then time.

    The tables are ``minutes`` and, of these, the ``auctions``, which count as part of their regular sessions.
    """
    reads = (READ.format(minutes=timeframe.minutes, source=_level(timeframe)) for timeframe in timeframes)
    levels, selects = ",".join(_levels(timeframes)), " UNION ALL ".join(reads)
    return f"WITH {levels} {selects} ORDER BY minutes, time"


def _levels(
    timeframes: Iterable[Timeframe], keys: str = "hours", order: str = "", kept: str = "MATERIALIZED"
) -> list[str]:
    """Return the common table expressions, the shortest timeframe first."""
    needed = set[Timeframe]()
    for timeframe in timeframes:
        while timeframe in MADE_FROM:
            needed.add(timeframe)
            timeframe = MADE_FROM[timeframe]
    return [MINUTES.format(keys=keys), *(_level_sql(each, keys, order, kept) for each in MADE_FROM if each in needed)]


def _level_sql(timeframe: Timeframe, keys: str, order: str, kept: str) -> str:
    source, step = _level(MADE_FROM[timeframe]), timeframe.minutes * MICROS_PER_MINUTE
    # qualified by its table, or GROUP BY would take the column that is called time in the result
    bucket = f"hours + ({source}.time - hours) // {step} * {step}"
    auctions = ""
    if timeframe is Timeframe.DAY_1:
        source, bucket, auctions = "of_days", "hours", f"{WITH_AUCTIONS.format(keys=keys)},"
    level = LEVEL.format(
        target=_level(timeframe), source=source, bucket=bucket, keys=keys, order=order, materialized=kept
    )
    return auctions + level


def _level(timeframe: Timeframe) -> str:
    return f"level_{timeframe.minutes}"
