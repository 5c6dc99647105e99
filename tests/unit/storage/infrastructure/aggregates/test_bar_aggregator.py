"""Every aggregate is what a person would make of the minutes; see tests/support/reference_aggregation.py."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
from marketpipe.storage.infrastructure.aggregates.month_files import DayFilesOfMonth
from marketpipe.testing import bar, bar_table
from tests.support.builders import CALENDAR, day
from tests.support.examples import examples
from tests.support.sparse_minutes import FULL_DAYS, MonthOfMinutes, months_of_minutes
from tests.support.store_on_disk import StoreOnDisk

Row = dict[str, Any]
AGGREGATED = tuple(timeframe for timeframe in Timeframe if timeframe.is_aggregated)


def aggregate(
    root: Path, month: str, timeframes: Sequence[Timeframe] = AGGREGATED, closing_auction: int | None = None
) -> Mapping[Timeframe, pa.Table]:
    wanted = MonthPartition(Symbol("AAPL"), *map(int, month.split("-")))
    minutes = DayFilesOfMonth(wanted, str(StoreOnDisk(root).layout.month(wanted))).bars()
    return BarAggregator(CALENDAR, closing_auction).aggregate({wanted: minutes}, timeframes)[wanted]


def made_from(
    minutes: MonthOfMinutes, timeframes: Sequence[Timeframe] = AGGREGATED, closing_auction: int | None = None
) -> Mapping[Timeframe, list[Row]]:
    with tempfile.TemporaryDirectory() as folder:
        minutes.write(Path(folder) / "data")
        made = aggregate(Path(folder), minutes.month.name, timeframes, closing_auction)
        return {timeframe: bars.to_pylist() for timeframe, bars in made.items()}


def assert_same(found: Sequence[Row], expected: Sequence[Row]) -> None:
    """To the last bit, but for the volume-weighted price, whose last bits depend on the order of adding."""
    exact = [{**row, "vwap": None} for row in found]
    assert exact == [{**row, "vwap": None} for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["vwap"] == (None if other["vwap"] is None else pytest.approx(other["vwap"], rel=1e-12))


@examples(40)
@given(months_of_minutes(), st.sampled_from([None, 0, 1, 59]))
def test_every_timeframe_is_what_the_reference_makes_of_the_minutes(
    minutes: MonthOfMinutes, closing_auction: int | None
) -> None:
    found = made_from(minutes, AGGREGATED, closing_auction)

    assert list(found) == list(AGGREGATED)
    for timeframe in AGGREGATED:
        assert_same(found[timeframe], minutes.aggregated(timeframe, closing_auction))


def test_every_timeframe_of_full_days_is_what_the_reference_makes_of_them() -> None:
    found = made_from(FULL_DAYS)

    for timeframe in AGGREGATED:
        assert_same(found[timeframe], FULL_DAYS.aggregated(timeframe))
    counted = {str(timeframe): len(bars) for timeframe, bars in found.items()}
    assert counted == {
        **{"2m": 1440, "3m": 960, "5m": 576, "10m": 288, "15m": 192, "30m": 96},  # noqa: PIE800
        **{"1h": 51, "2h": 27, "4h": 15, "1d": 3},  # noqa: PIE800
    }


@examples(15)
@given(months_of_minutes(), st.lists(st.sampled_from(AGGREGATED), unique=True, min_size=1, max_size=3))
def test_a_timeframe_does_not_depend_on_those_asked_for_with_it(
    minutes: MonthOfMinutes, wanted: list[Timeframe]
) -> None:
    for timeframe, bars in made_from(minutes, wanted).items():
        assert_same(bars, minutes.aggregated(timeframe))


@examples(15)
@given(months_of_minutes())
def test_days_are_the_same_whatever_else_is_made(minutes: MonthOfMinutes) -> None:
    found = made_from(minutes, [Timeframe.HOUR_1, Timeframe.DAY_1])

    assert_same(found[Timeframe.DAY_1], made_from(minutes, [Timeframe.DAY_1])[Timeframe.DAY_1])


def _close_times(root: Path, date: str, times: Sequence[str], timeframe: Timeframe) -> list[tuple[str, float]]:
    """Bars numbered by their place; for each aggregate its UTC time and the number of its last bar."""
    store = StoreOnDisk(root)
    rows = [bar(f"{date}T{time}:00Z", 10.0, close=float(number)) for number, time in enumerate(times)]
    store.keep((day("AAPL", date), rows))
    found = aggregate(root, date[:7], [timeframe])[timeframe].to_pylist()
    return [(f"{row['timestamp']:%H:%M}", row["close"]) for row in found]


def test_buckets_are_counted_from_pre_market_the_open_and_the_close(tmp_path: Path) -> None:
    times = ["09:00", "12:59", "13:00", "14:29", "14:30", "18:29", "18:30", "20:59", "21:00", "00:59"]
    found = _close_times(tmp_path, "2024-01-02", times[:-1], Timeframe.HOUR_4)

    assert found == [("09:00", 1.0), ("13:00", 3.0), ("14:30", 5.0), ("18:30", 7.0), ("21:00", 8.0)]


@pytest.mark.parametrize(
    ("date", "times", "hours"),
    [
        ("2024-11-29", ["17:29", "17:30", "17:59", "18:00", "18:59", "19:00"], ["16:30", "17:30", "18:00", "19:00"]),
        ("2024-07-03", ["16:29", "16:30", "16:59", "17:00", "17:59", "18:00"], ["15:30", "16:30", "17:00", "18:00"]),
    ],
)
def test_a_half_day_closes_its_buckets_at_one(tmp_path: Path, date: str, times: list[str], hours: list[str]) -> None:
    found = _close_times(tmp_path, date, times, Timeframe.HOUR_1)

    assert found == [(hours[0], 0.0), (hours[1], 2.0), (hours[2], 4.0), (hours[3], 5.0)]


@pytest.mark.parametrize(
    ("date", "open_in_utc", "time"),
    [
        ("2024-03-08", "14:30", "05:00"),
        ("2024-03-11", "13:30", "04:00"),
        ("2024-11-01", "13:30", "04:00"),
        ("2024-11-04", "14:30", "05:00"),
    ],
)
def test_a_daily_bar_is_the_regular_session_restored_new_york_midnight(
    tmp_path: Path, date: str, open_in_utc: str, time: str
) -> None:
    before = f"{open_in_utc[:2]}:29"
    found = _close_times(tmp_path, date, [before, open_in_utc], Timeframe.DAY_1)

    assert found == [(time, 1.0)]


def test_a_month_without_a_regular_trade_has_no_daily_bar(tmp_path: Path) -> None:
    assert _close_times(tmp_path, "2024-01-02", ["12:00", "22:00"], Timeframe.DAY_1) == []


def test_the_last_half_hour_of_the_post_market_is_on_the_next_day_in_utc(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", "2024-01-31"), [bar("2024-02-01T00:30:00Z"), bar("2024-02-01T00:59:00Z", 200.0)]))

    found = aggregate(tmp_path, "2024-01", [Timeframe.MINUTE_30])[Timeframe.MINUTE_30].to_pylist()

    assert [(f"{row['timestamp']:%m-%d %H:%M}", row["close"]) for row in found] == [("02-01 00:30", 200.5)]


@pytest.mark.parametrize(
    ("vwaps", "volumes", "expected"),
    [
        ((10.0, 20.0), (1.0, 3.0), 17.5),
        ((10.0, None), (1.0, 3.0), 10.0),
        ((None, None), (1.0, 3.0), None),
        ((0.0, 0.0), (0.0, 0.0), None),
        ((10.0, 0.0), (1.0, 0.0), 10.0),
    ],
)
def test_vwap_is_weighted_by_the_volume_that_has_one(
    tmp_path: Path, vwaps: Sequence[float | None], volumes: Sequence[float], expected: float | None
) -> None:
    store = StoreOnDisk(tmp_path)
    times = ("2024-01-02T15:00:00Z", "2024-01-02T15:01:00Z")
    rows = [bar(time, vwap=vwap, volume=volume) for time, vwap, volume in zip(times, vwaps, volumes, strict=True)]
    store.keep((day("AAPL", "2024-01-02"), rows))

    found = aggregate(tmp_path, "2024-01")

    assert {tuple(bars["vwap"].to_pylist()) for bars in found.values()} == {(expected,)}


def test_aggregates_have_the_canonical_columns(tmp_path: Path) -> None:
    _close_times(tmp_path, "2024-01-02", ["15:00"], Timeframe.DAY_1)

    assert {bars.schema for bars in aggregate(tmp_path, "2024-01").values()} == {BAR_SCHEMA}


def test_a_month_without_day_files_has_no_bars(tmp_path: Path) -> None:
    assert {bars.num_rows for bars in aggregate(tmp_path, "2024-01").values()} == {0}


def test_a_damaged_day_file_is_an_error_and_not_half_a_month(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*((day("AAPL", date), [bar(f"{date}T15:00:00Z")]) for date in ("2024-01-02", "2024-01-03")))
    path = store.path(day("AAPL", "2024-01-03"))
    path.write_bytes(path.read_bytes()[:-50])

    with pytest.raises(StorageError, match="symbol=AAPL/year=2024/month=01"):
        aggregate(tmp_path, "2024-01")


@pytest.mark.parametrize("name", ["a [store]", "star*", "what?", "it's", "{a,b}"])
def test_a_root_may_have_characters_that_mean_something_to_a_glob(tmp_path: Path, name: str) -> None:
    assert _close_times(tmp_path / name, "2024-01-02", ["15:00"], Timeframe.DAY_1) == [("05:00", 0.0)]


JANUARY, FEBRUARY = (MonthPartition(Symbol("AAPL"), 2024, month) for month in (1, 2))
IN_JANUARY = [bar(f"2024-01-31T{time}:00Z", 10.0) for time in ("15:00", "15:01", "15:07")]
IN_FEBRUARY = [bar("2024-02-01T00:30:00Z", 20.0), bar("2024-02-01T15:00:00Z", 30.0)]
"""The first is in the late hours of January 31."""


@pytest.mark.parametrize(
    ("january", "february"),
    [
        ([*IN_JANUARY, IN_FEBRUARY[0]], IN_FEBRUARY[1:]),
        (IN_JANUARY, IN_FEBRUARY),
        (IN_JANUARY[::-1], IN_FEBRUARY[1:]),
        ([*IN_JANUARY, IN_FEBRUARY[1]], []),
        ([], IN_FEBRUARY[1:]),
    ],
    ids=["in order", "January in the files of February", "descending", "February in those of January", "empty"],
)
def test_months_that_are_aggregated_together_have_the_bars_of_each_alone(
    january: list[Row], february: list[Row]
) -> None:
    aggregator, tables = BarAggregator(CALENDAR, 0), {JANUARY: bar_table(january), FEBRUARY: bar_table(february)}

    together = aggregator.aggregate(tables, AGGREGATED)

    for month, table in tables.items():
        assert together[month] == aggregator.aggregate({month: table}, AGGREGATED)[month]


def test_trade_counts_that_are_too_large_only_for_all_months_together_are_no_error() -> None:
    tables = {month: bar_table([bar(f"{month}-05T15:00:00Z", trade_count=2**62)]) for month in (JANUARY, FEBRUARY)}

    made = BarAggregator(CALENDAR, 0).aggregate(tables, AGGREGATED)

    assert [made[month][AGGREGATED[0]]["trade_count"].to_pylist() for month in tables] == [[2**62]] * 2
