"""Aggregation in plain Python, slowly: one bar after another, by New York's wall clock."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Closes = Mapping[date, time]
"""The trading dates, and the New York time at which the regular session of each ends."""

NEW_YORK = ZoneInfo("America/New_York")
PRE_MARKET, OPEN, POST_MARKET_END, HALF_DAY_END = time(4), time(9, 30), time(20), time(17)


def aggregate_minutes(bars: Iterable[Row], minutes: int, closes: Closes) -> list[Row]:
    """Return buckets of ``minutes``, counted from 04:00, the regular open and the close, cut where each part ends."""
    buckets: defaultdict[datetime, list[Row]] = defaultdict(list)
    for bar in bars:
        for start, end in _hours(bar["timestamp"], closes):
            if start <= bar["timestamp"] < end:
                whole_steps = (bar["timestamp"] - start) // timedelta(minutes=minutes)
                buckets[start + whole_steps * timedelta(minutes=minutes)].append(bar)
    return [_one_bar(moment, buckets[moment]) for moment in sorted(buckets)]


def aggregate_days(bars: Iterable[Row], closes: Closes, closing_auction: int | None = None) -> list[Row]:
    """Return one bar for the regular session of each trading date, at New York midnight.

    Of the minute ``closing_auction`` minutes after the close, the first price is the auction's: it counts as a bar of
    that one price, with the volume of the minute.
    """
    days: defaultdict[datetime, list[Row]] = defaultdict(list)
    for bar in bars:
        moment, midnight = bar["timestamp"], _moment(_trading_date(bar["timestamp"]), time())
        for start, end in _hours(moment, closes)[1:2]:
            if start <= moment < end:
                days[midnight].append(bar)
            elif closing_auction is not None and moment == end + timedelta(minutes=closing_auction):
                days[midnight].append({**bar, **dict.fromkeys(("high", "low", "close"), bar["open"])})
    return [_one_bar(moment, days[moment]) for moment in sorted(days)]


def _hours(moment: datetime, closes: Closes) -> list[tuple[datetime, datetime]]:
    """Return the hours before the open, of the regular session, after the close; none for a day without a session."""
    day = _trading_date(moment)
    if day not in closes:
        return []
    end = HALF_DAY_END if closes[day] <= time(14) else POST_MARKET_END
    marks = [_moment(day, wall) for wall in (PRE_MARKET, OPEN, closes[day], end)]
    return list(pairwise(marks))


def _one_bar(moment: datetime, bars: Sequence[Row]) -> Row:
    in_order = sorted(bars, key=lambda bar: bar["timestamp"])
    counts = [bar["trade_count"] for bar in bars if bar["trade_count"] is not None]
    return {
        "timestamp": moment,
        "open": in_order[0]["open"],
        "high": max(bar["high"] for bar in bars),
        "low": min(bar["low"] for bar in bars),
        "close": in_order[-1]["close"],
        "volume": math.fsum(bar["volume"] for bar in bars),
        "trade_count": sum(counts) if counts else None,
        "vwap": _vwap([bar for bar in bars if bar["vwap"] is not None]),
    }


def _vwap(bars: Sequence[Row]) -> float | None:
    weight = math.fsum(bar["volume"] for bar in bars)
    return math.fsum(bar["vwap"] * bar["volume"] for bar in bars) / weight if weight > 0 else None


def _trading_date(moment: datetime) -> date:
    return moment.astimezone(NEW_YORK).date()


def _moment(day: date, wall: time) -> datetime:
    return datetime.combine(day, wall, NEW_YORK).astimezone(UTC)


def merge_days(official: Iterable[Row], made: Iterable[Row]) -> list[Row]:
    """Return the exchange's days, and those made from minutes for the other dates, each with its source."""
    days = {row["timestamp"]: {**row, "source": "minutes"} for row in made}
    days |= {row["timestamp"]: {**row, "source": "official"} for row in official}
    return [days[moment] for moment in sorted(days)]


def aggregate_periods(days: Iterable[Row], unit: str, sessions: Iterable[date]) -> list[Row]:
    """Return weeks or months of days, each at New York midnight of the first of the ``sessions`` in it.

    ``unit`` is week or month; ``sessions`` are all trading dates of the exchange around the days.
    """
    periods: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for day in days:
        periods[_period(_trading_date(day["timestamp"]), unit)].append(day)
    firsts = {period: min(day for day in sessions if _period(day, unit) == period) for period in periods}
    return [_one_period(_moment(firsts[period], time()), periods[period]) for period in sorted(periods)]


def _period(day: date, unit: str) -> tuple[int, int]:
    return day.isocalendar()[:2] if unit == "week" else (day.year, day.month)


def _one_period(moment: datetime, days: Sequence[Row]) -> Row:
    sources = {day["source"] for day in days}
    return {**_one_bar(moment, days), "source": sources.pop() if len(sources) == 1 else "mixed"}
