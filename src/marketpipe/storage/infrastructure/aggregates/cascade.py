"""What each timeframe is made of, and the SQL that makes it in views without files; files are made in ``buckets.py``.

Buckets are counted from the start of their part of a session, so none crosses the open, the close or midnight, and each
timeframe is made from a shorter one that divides it. Volume-weighted prices carry value and weight through the cascade.
"""

from __future__ import annotations

from collections.abc import Iterable
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

KEYS_OF_VIEWS: Final = "symbol, trading_date, hours"
KEYS_OF_DAYS: Final = "symbol, trading_date, hours, closes"

MINUTES = """
level_1 AS NOT MATERIALIZED (
SELECT {keys}, time, open, high, low, close, volume, trade_count,
       vwap * volume AS value, CASE WHEN vwap IS NOT NULL THEN volume END AS weight
FROM minutes)"""


def needed(timeframes: Iterable[Timeframe]) -> list[Timeframe]:
    """Return the timeframes that must be made, each after the one that it is made from."""
    found = set[Timeframe]()
    for timeframe in timeframes:
        while timeframe in MADE_FROM:
            found.add(timeframe)
            timeframe = MADE_FROM[timeframe]
    return [timeframe for timeframe in MADE_FROM if timeframe in found]


def _bucket(timeframe: Timeframe, source: str) -> str:
    step = timeframe.minutes * MICROS_PER_MINUTE
    # qualified by its table, or GROUP BY would take the column that is called time in the result
    return f"hours + ({source}.time - hours) // {step} * {step}"


def _level(timeframe: Timeframe) -> str:
    return f"level_{timeframe.minutes}"


# A view is read by many threads, so the numbers are put in the order of time before they are added: lists are far
# quicker than aggregates with an ORDER BY of their own. No level is materialized, so that a condition on the symbol or
# the trading date reaches the files.
LEVEL_OF_VIEWS = """
{target} AS NOT MATERIALIZED (
SELECT {keys}, time, open, high, low, close, list_aggregate([part.volume for part in parts], 'fsum') AS volume,
       trade_count, list_aggregate([part.value for part in parts], 'fsum') AS value,
       list_aggregate([part.weight for part in parts], 'fsum') AS weight
FROM (
    SELECT {keys}, {bucket} AS time,
           arg_min(open, {source}.time) AS open, max(high) AS high, min(low) AS low,
           arg_max(close, {source}.time) AS close, sum(trade_count)::BIGINT AS trade_count,
           list_sort(list(struct_pack(time := {source}.time, volume := volume, value := value, weight := weight)))
               AS parts
    FROM {source} GROUP BY {keys}, {bucket}))"""

INTRADAY_VIEW = """
WITH minutes AS NOT MATERIALIZED (
SELECT symbol, trading_date, open, high, low, close, volume, trade_count, vwap, epoch_us(timestamp) AS time,
       CASE WHEN epoch_us(timestamp) < opens THEN starts WHEN epoch_us(timestamp) < closes THEN opens ELSE closes END
           AS hours
FROM ({minutes}) JOIN {sessions} USING (trading_date)
WHERE epoch_us(timestamp) >= starts AND epoch_us(timestamp) < ends), {levels}
SELECT symbol, trading_date, make_timestamptz(time) AS timestamp, open, high, low, close, volume, trade_count,
       CASE WHEN weight > 0 THEN value / weight END AS vwap
FROM {source}"""

# The minute of the auction is a bucket of its own, as for files.
VIEW_OF_DAYS = """
WITH minutes AS NOT MATERIALIZED (
SELECT symbol, trading_date, opens AS hours, closes, epoch_us(timestamp) AS time, open,
       CASE WHEN epoch_us(timestamp) < closes THEN high ELSE open END AS high,
       CASE WHEN epoch_us(timestamp) < closes THEN low ELSE open END AS low,
       CASE WHEN epoch_us(timestamp) < closes THEN close ELSE open END AS close, volume, trade_count, vwap
FROM ({minutes}) JOIN {sessions} USING (trading_date)
WHERE (epoch_us(timestamp) >= opens AND epoch_us(timestamp) < closes)
   OR (epoch_us(timestamp) = auction AND epoch_us(timestamp) < ends)), {levels}
SELECT symbol, trading_date, CAST(trading_date AS TIMESTAMP) AT TIME ZONE 'America/New_York' AS timestamp,
       open, high, low, close, volume, trade_count, CASE WHEN weight > 0 THEN value / weight END AS vwap
FROM {source}"""


def view_of_minutes(timeframe: Timeframe, minutes: str, sessions: str) -> str:
    """Return the SQL that makes the bars of a timeframe of many symbols, to the bit those of a file.

    ``minutes`` is SQL that returns bars with their ``symbol`` and ``trading_date``. ``sessions`` is a table with a row
    for each trading date: ``trading_date``, and in microseconds since 1970 ``starts``, ``opens``, ``closes``, ``ends``
    and ``auction``, null if it is not known.
    """
    is_day = timeframe is Timeframe.DAY_1
    keys, view = (KEYS_OF_DAYS, VIEW_OF_DAYS) if is_day else (KEYS_OF_VIEWS, INTRADAY_VIEW)
    made = [MINUTES.format(keys=keys), *(_level_of_view(each, keys) for each in needed([timeframe]))]
    levels = ",".join(made)
    return view.format(minutes=minutes, sessions=sessions, levels=levels, source=_level(timeframe))


def _level_of_view(timeframe: Timeframe, keys: str) -> str:
    source = _level(MADE_FROM[timeframe])
    bucket = "hours" if timeframe is Timeframe.DAY_1 else _bucket(timeframe, source)
    if keys == KEYS_OF_DAYS and timeframe is MADE_FROM[Timeframe.DAY_1]:
        bucket = f"CASE WHEN {source}.time < closes THEN {bucket} ELSE {source}.time END"
    return LEVEL_OF_VIEWS.format(target=_level(timeframe), source=source, bucket=bucket, keys=keys)
