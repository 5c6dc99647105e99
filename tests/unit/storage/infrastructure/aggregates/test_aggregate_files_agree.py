"""The stored aggregates agree with the minutes and with one another, on the exchange's awkward days too.

``test_bar_aggregator`` takes few and odd minutes; here they come in stretches that fill their buckets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing import sessions
from tests.support.examples import examples
from tests.support.reference_aggregation import NEW_YORK, aggregate_days
from tests.support.sparse_minutes import FULL, HALF, Month, MonthOfMinutes
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk

Row = dict[str, Any]
Stretch = tuple[int, int, int]
"""The first minute, counted from 04:00 in New York; how many bars; how many minutes from one to the next."""

OPEN, CLOSE, HALF_DAY_CLOSE, END = 330, 720, 540, 960
WINTER, CHANGE = "2024-03-08", "2024-03-11"


def month_of(closes: Mapping[str, time]) -> Month:
    days = {date.fromisoformat(day): close for day, close in closes.items()}
    return Month(next(iter(closes))[:7], tuple(closes), days)


MONTHS = (
    month_of({WINTER: FULL, CHANGE: FULL}),
    month_of({"2024-11-01": FULL, "2024-11-04": FULL, "2024-11-29": HALF}),
    month_of({"2024-12-23": FULL, "2024-12-24": HALF, "2024-12-26": FULL}),
)
"""The trading dates on either side of both changes of the clock, and two half days."""


def minutes_of(month: Month, stretches: Mapping[str, Sequence[Stretch]]) -> MonthOfMinutes:
    """Prices and volumes follow from the minute, so that every bar differs from its neighbours."""
    taken = {
        (day, start + number * step)
        for day, parts in stretches.items()
        for start, count, step in parts
        for number in range(count)
        if start + number * step < END
    }
    return MonthOfMinutes(month, tuple(_bar(day, minute) for day, minute in sorted(taken)))


def _bar(day: str, minute: int) -> Row:
    four = datetime.combine(date.fromisoformat(day), time(4), NEW_YORK).astimezone(UTC)
    price = 100 + (minute * 7919 + int(day[-2:])) % 1009 / 100
    prices = {"open": price, "high": price + minute % 7, "low": price - minute % 5, "close": price + 0.01}
    counts = {"volume": float(1 + minute % 97), "trade_count": minute % 11 or None, "vwap": price + 0.005}
    return {"timestamp": four + timedelta(minutes=minute), **prices, **counts}


@st.composite
def months_of_stretches(draw: st.DrawFn) -> MonthOfMinutes:
    month = draw(st.sampled_from(MONTHS))
    edges = st.sampled_from((0, OPEN, HALF_DAY_CLOSE, CLOSE, END))
    starts = st.builds(lambda edge, away: max(0, edge + away), edges, st.integers(-70, 70))
    stretch = st.tuples(starts, st.integers(1, 130), st.sampled_from((1, 1, 1, 2, 5, 60)))
    stretches = draw(st.fixed_dictionaries({day: st.lists(stretch, max_size=2) for day in month.dates}))
    return minutes_of(month, {**stretches, month.dates[0]: [*stretches[month.dates[0]], (OPEN, 1, 1)]})


def stored(minutes: MonthOfMinutes) -> dict[Timeframe, list[Row]]:
    """Return the bars of the aggregate files."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder))
        minutes.write(store.layout.data)
        store.refresh("AAPL")
        paths = {tf: store.aggregate_path("AAPL", tf, minutes.month.name) for tf in AGGREGATED}
        return {timeframe: store.rows(path) for timeframe, path in paths.items()}


def assert_same(found: Sequence[Row], expected: Sequence[Row]) -> None:
    """The volumes are whole numbers, whose sums are exact; volume-weighted prices are rounded."""
    assert [{**row, "vwap": None} for row in found] == [{**row, "vwap": None} for row in expected]
    assert [row["vwap"] for row in found] == pytest.approx([row["vwap"] for row in expected], rel=1e-12)


@examples(15)
@given(months_of_stretches())
def test_stored_aggregates_are_what_the_reference_makes_of_the_minutes(minutes: MonthOfMinutes) -> None:
    found = stored(minutes)

    for timeframe in AGGREGATED:
        assert_same(found[timeframe], minutes.aggregated(timeframe))


@examples(10)
@given(months_of_stretches())
def test_stored_days_are_what_the_reference_makes_of_any_stored_bars_of_the_regular_session(
    minutes: MonthOfMinutes,
) -> None:
    """Every minute has a volume-weighted price here: a bar does not tell how much of its volume had none."""
    found = stored(minutes)

    for timeframe in AGGREGATED[:-1]:
        assert_same(found[Timeframe.DAY_1], aggregate_days(found[timeframe], minutes.month.closes))


@examples(10)
@given(months_of_stretches())
def test_no_bucket_crosses_the_open_the_close_or_a_session(minutes: MonthOfMinutes) -> None:
    """By the exchange's own calendar: a bar has the minutes from its time on, within its part of the session."""
    for timeframe, bars in stored(minutes).items():
        for bar in bars:
            start, end = _reach(bar["timestamp"], timeframe)
            within = [minute for minute in minutes.bars if start <= minute["timestamp"] < end]
            assert bar["volume"] == sum(minute["volume"] for minute in within) > 0
            assert (bar["open"], bar["close"]) == (within[0]["open"], within[-1]["close"])


def _reach(moment: datetime, timeframe: Timeframe) -> tuple[datetime, datetime]:
    (session,) = sessions(*[str(TradingDate.of(Timestamp(moment)))] * 2)
    if timeframe is Timeframe.DAY_1:
        assert moment == session.trading_date.midnight.moment
        return _bounds(session.regular)
    (hours,) = (hours for hours in (session.early, session.regular, session.late) if hours.contains(Timestamp(moment)))
    start, end = _bounds(hours)
    assert (moment - start) % timedelta(minutes=timeframe.minutes) == timedelta(0)
    return moment, min(moment + timedelta(minutes=timeframe.minutes), end)


def _bounds(window: TimeWindow) -> tuple[datetime, datetime]:
    return window.start.moment, window.end.moment


def _clock_times(bars: Sequence[Row]) -> list[str]:
    return [f"{bar['timestamp'].astimezone(NEW_YORK):%m-%d %H:%M}" for bar in bars]


def test_a_session_that_starts_without_a_trade_has_the_buckets_it_would_have_had() -> None:
    minutes = minutes_of(MONTHS[0], {WINTER: [(OPEN + 7, 6, 1)], CHANGE: [(OPEN + 61, 2, 1)]})

    found = stored(minutes)

    assert _clock_times(found[Timeframe.MINUTE_5]) == ["03-08 09:35", "03-08 09:40", "03-11 10:30"]
    assert _clock_times(found[Timeframe.HOUR_1]) == ["03-08 09:30", "03-11 10:30"]
    assert [bar["open"] for bar in found[Timeframe.DAY_1]] == [minutes.bars[0]["open"], minutes.bars[6]["open"]]


def test_a_session_without_a_regular_trade_has_hours_but_no_day() -> None:
    quiet = [(OPEN - 1, 1, 1), (CLOSE, 1, 1)]
    minutes = minutes_of(MONTHS[0], {WINTER: quiet, CHANGE: [(OPEN, 1, 1)]})

    found = stored(minutes)

    assert _clock_times(found[Timeframe.HOUR_1]) == ["03-08 09:00", "03-08 16:00", "03-11 09:30"]
    assert _clock_times(found[Timeframe.DAY_1]) == ["03-11 00:00"]


@pytest.mark.parametrize(("month", "half_day"), [(MONTHS[1], "2024-11-29"), (MONTHS[2], "2024-12-24")])
def test_the_day_of_a_half_day_ends_at_one(month: Month, half_day: str) -> None:
    minutes = minutes_of(month, {half_day: [(HALF_DAY_CLOSE - 2, 4, 1)]})

    found = stored(minutes)

    assert _clock_times(found[Timeframe.HOUR_1]) == [f"{half_day[5:]} 12:30", f"{half_day[5:]} 13:00"]
    assert [bar["close"] for bar in found[Timeframe.DAY_1]] == [minutes.bars[1]["close"]]
