"""Minutes of a month: a few unusual ones, near the start and end of sessions, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import DataPartition
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
from marketpipe.testing import bar, bar_table
from tests.support.reference_aggregation import NEW_YORK, Closes, aggregate_days, aggregate_minutes

Row = dict[str, Any]

FULL, HALF = time(16), time(13)
MINUTES_FROM_FOUR = (
    -1, 0, 1, 4, 5, 14, 59, 60, 239, 240, 328, 329, 330, 331, 335, 360, 389, 390, 391, 509, 510, 539, 540, 541,
    569, 570, 659, 660, 719, 720, 721, 749, 750, 779, 780, 839, 899, 959, 960
)  # fmt: skip
"""Around 04:00, 09:30, 13:00, 16:00 and 20:00 in New York, and around the bounds of buckets counted from there."""


@frozen
class Month:
    """``closes`` has the sessions of the month; ``dates`` may have bars, and include a holiday or a Saturday."""

    name: str
    dates: tuple[str, ...]
    closes: Closes


def _month(name: str, dates: Sequence[str], half_days: Sequence[str] = (), closed: Sequence[str] = ()) -> Month:
    opened = [text for text in dates if text not in closed]
    return Month(name, tuple(dates), {date.fromisoformat(day): HALF if day in half_days else FULL for day in opened})


MONTHS = (
    _month("2024-01", ["2024-01-12", "2024-01-15", "2024-01-16"], closed=["2024-01-15"]),
    _month("2024-03", ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"]),
    _month("2024-07", ["2024-07-02", "2024-07-03", "2024-07-04", "2024-07-05"], ["2024-07-03"], ["2024-07-04"]),
    _month("2024-11", ["2024-11-01", "2024-11-02", "2024-11-04", "2024-11-29"], ["2024-11-29"], ["2024-11-02"]),
)
"""With a holiday; the weeks in which the clocks change, March and November; the half days of July and November."""


@frozen
class MonthOfMinutes:
    month: Month
    bars: tuple[Row, ...]

    def write(self, data: Path, symbol: str = "AAPL") -> None:
        """Write a file for each date with bars, unsynced."""
        days: dict[date, list[Row]] = {}
        for row in self.bars:
            days.setdefault(row["timestamp"].astimezone(NEW_YORK).date(), []).append(row)
        for day, rows in days.items():
            path = data / DataPartition(SymbolDay(Symbol(symbol), TradingDate(day))).path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(ParquetWriter("snappy").encode_bars(bar_table(rows), {}))

    def aggregated(self, timeframe: Timeframe, closing_auction: int | None = None) -> list[Row]:
        """Return the aggregates that the reference computes."""
        if timeframe is Timeframe.DAY_1:
            return aggregate_days(self.bars, self.month.closes, closing_auction)
        return aggregate_minutes(self.bars, timeframe.minutes, self.month.closes)


def months_of_minutes() -> st.SearchStrategy[MonthOfMinutes]:
    return st.sampled_from(MONTHS).flatmap(lambda month: _bars(month).map(lambda bars: MonthOfMinutes(month, bars)))


def _bars(month: Month) -> st.SearchStrategy[tuple[Row, ...]]:
    minutes = st.sampled_from(MINUTES_FROM_FOUR) | st.integers(0, 959)
    moments = st.tuples(st.sampled_from(month.dates), minutes)
    return st.dictionaries(moments, _values(), min_size=1, max_size=40).map(
        lambda bars: tuple({"timestamp": _moment(*moment), **bars[moment]} for moment in sorted(bars))
    )


def _values() -> st.SearchStrategy[Row]:
    """Return prices with 6 decimals and volumes that add up exactly; some are fractions, some are 0."""
    prices = st.integers(1, 10**9).map(lambda millionths: millionths / 10**6)
    values = {
        **dict.fromkeys(("open", "high", "low", "close"), prices),
        "volume": st.sampled_from((0.0, 0.25, 1.0)) | st.integers(0, 10**7).map(float),
        "trade_count": st.none() | st.integers(0, 10**6),
        "vwap": st.none() | prices,
    }
    return st.fixed_dictionaries(values)


def _moment(day: str, minute: int) -> datetime:
    four = datetime.combine(date.fromisoformat(day), time(4), NEW_YORK).astimezone(UTC)
    return four + timedelta(minutes=minute)


FULL_DAYS = MonthOfMinutes(
    MONTHS[1],
    tuple(
        bar(_moment(day, minute).isoformat(), 100 + (minute * 7919 + number) % 1009 / 100, volume=float(minute % 97))
        for number, day in enumerate(MONTHS[1].dates[1:])
        for minute in range(960)
    ),
)
"""Three days around the Sunday on which the clocks change."""
