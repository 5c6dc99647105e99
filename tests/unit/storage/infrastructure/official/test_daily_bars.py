"""Days are the exchange's own where there are any; loader and views agree with a plain reference. See ADR 0021."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.official.daily_bars import days_of_periods, first_sessions
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
from marketpipe.testing import bar, bar_table, sessions
from tests.support.builders import CALENDAR, day
from tests.support.examples import examples
from tests.support.reference_aggregation import aggregate_periods, merge_days
from tests.support.sparse_minutes import MonthOfMinutes, months_of_minutes
from tests.support.store_on_disk import StoreOnDisk

Row = dict[str, Any]
DAYS = {Timeframe.DAY_1: "", Timeframe.WEEK_1: "week", Timeframe.MONTH_1: "month"}


def keep_official(store: StoreOnDisk, symbol: str, *rows: Row) -> None:
    """Write the file of each year. Rows are at New York midnight, ascending."""
    for year in {row["timestamp"].year for row in rows}:
        path = store.layout.official_days(Symbol(symbol), year)
        path.parent.mkdir(parents=True, exist_ok=True)
        some = [row for row in rows if row["timestamp"].year == year]
        path.write_bytes(ParquetWriter("zstd").encode_bars(bar_table(some), {}))


def official(text: str, price: float = 100.0, **changes: Any) -> Row:
    return bar(str(TradingDate.parse(text).midnight), price, **changes)


def load(store: StoreOnDisk, timeframe: Timeframe, first: str, last: str, **options: Any) -> list[Row]:
    dates = TradingDate.parse(first), TradingDate.parse(last)
    found = store.loader.load([Symbol("AAPL")], *dates, timeframe, **options)
    rows: list[Row] = found.drop_columns("symbol").to_pylist()
    return rows


def ask(store: StoreOnDisk, timeframe: Timeframe, first: str, last: str) -> list[Row]:
    where = f"symbol = 'AAPL' AND trading_date BETWEEN '{first}' AND '{last}'"
    sql = f"SELECT * EXCLUDE (symbol, trading_date) FROM bars_{timeframe} WHERE {where} ORDER BY timestamp"
    found: list[Row] = DuckDBQuery(store.layout, CALENDAR.reaching).run(sql).to_pylist()
    return found


def assert_same(found: Sequence[Row], expected: Sequence[Row]) -> None:
    """To the last bit, but for the volume-weighted price."""
    assert [{**row, "vwap": None} for row in found] == [{**row, "vwap": None} for row in expected]
    assert [row["vwap"] for row in found] == [
        None if row["vwap"] is None else pytest.approx(row["vwap"], rel=1e-12) for row in expected
    ]


@frozen
class Scene:
    """Minutes of a month and official days of some of its sessions and of some around it."""

    minutes: MonthOfMinutes
    official: tuple[Row, ...]

    @property
    def dates(self) -> list[date]:
        """All sessions of the exchange from before the month until after it."""
        first = date.fromisoformat(f"{self.minutes.month.name}-01")
        around = TradingDate(first - timedelta(days=31)), TradingDate(first + timedelta(days=62))
        return [session.trading_date.day for session in CALENDAR.sessions(*around)]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    minutes = draw(months_of_minutes())
    dates, within = Scene(minutes, ()).dates, sorted(minutes.month.closes)
    chosen = sorted(draw(st.sets(st.sampled_from(dates[25:-25]) | st.sampled_from(within), max_size=12)))
    numbers = st.integers(1, 10**7)
    rows = [
        official(str(day), draw(numbers) / 1e4, volume=float(draw(numbers)), vwap=draw(st.none() | st.just(9.5)))
        for day in chosen
    ]
    return Scene(minutes, tuple(rows))


@examples(15)
@given(scenes())
def test_days_weeks_and_months_are_what_the_reference_makes_of_them(scene: Scene) -> None:
    made, dates = scene.minutes.aggregated(Timeframe.DAY_1, 0), scene.dates
    days = merge_days(scene.official, made)
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder), closing_auction=0)
        scene.minutes.write(store.layout.data)
        store.refresh("AAPL", [Timeframe.DAY_1])
        keep_official(store, "AAPL", *scene.official)
        for timeframe, unit in DAYS.items():
            expected = aggregate_periods(days, unit, dates) if unit else days
            for read in (load, ask):
                assert_same(read(store, timeframe, str(dates[0]), str(dates[-1])), expected)


@pytest.mark.parametrize("read", [load, ask])
def test_an_aggregate_that_is_stale_or_was_never_made_hides_no_official_day(tmp_path: Path, read: Any) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 50.0)]))
    keep_official(store, "AAPL", official("2024-01-02", 7.0), official("2024-01-03", 8.0))

    def found() -> list[tuple[float, str]]:
        return [(row["open"], row["source"]) for row in read(store, Timeframe.DAY_1, "2024-01-01", "2024-01-31")]

    assert found() == [(7.0, "official"), (8.0, "official")]
    store.refresh("AAPL", [Timeframe.DAY_1])
    store.keep((day("AAPL", "2024-01-04"), [bar("2024-01-04T14:30:00Z", 60.0)]))
    assert found() == [(7.0, "official"), (8.0, "official")]
    store.refresh("AAPL", [Timeframe.DAY_1])
    assert found() == [(7.0, "official"), (8.0, "official"), (60.0, "minutes")]


@pytest.mark.parametrize("read", [load, ask])
@pytest.mark.parametrize(
    ("official_days", "sources"),
    [
        (("2024-03-28", "2024-04-01", "2024-04-02"), ["official", "official"]),
        (("2024-03-28", "2024-04-02"), ["official", "mixed"]),
        (("2024-04-01", "2024-04-02"), ["minutes", "official"]),
        ((), ["minutes", "minutes"]),
    ],
)
def test_a_week_or_month_is_official_if_all_its_days_are(
    tmp_path: Path, read: Any, official_days: Sequence[str], sources: list[str]
) -> None:
    store, dates = StoreOnDisk(tmp_path), ("2024-03-28", "2024-04-01", "2024-04-02")
    store.keep(*((day("AAPL", text), [bar(f"{text}T14:30:00Z")]) for text in dates))
    store.refresh("AAPL", [Timeframe.DAY_1])
    keep_official(store, "AAPL", *map(official, official_days))

    for timeframe in (Timeframe.WEEK_1, Timeframe.MONTH_1):
        assert [row["source"] for row in read(store, timeframe, "2024-01-01", "2024-12-31")] == sources


@pytest.mark.parametrize("read", [load, ask])
def test_a_week_and_a_month_begin_with_the_first_session_of_the_exchange(tmp_path: Path, read: Any) -> None:
    """Monday 15 January was a holiday; on Tuesday the symbol has no bar."""
    store = StoreOnDisk(tmp_path)
    keep_official(store, "AAPL", official("2024-01-17", 5.0), official("2024-01-19", 6.0), official("2025-01-02", 7.0))

    (january,) = read(store, Timeframe.MONTH_1, "2024-01-01", "2024-12-31")
    weeks = read(store, Timeframe.WEEK_1, "2024-01-01", "2025-12-31")

    assert [f"{row['timestamp']:%Y-%m-%dT%H}" for row in weeks] == ["2024-01-16T05", "2024-12-30T05"]
    assert f"{january['timestamp']:%Y-%m-%d}" == "2024-01-02"
    assert [(row["open"], row["close"], row["volume"]) for row in weeks] == [(5.0, 6.5, 2000.0), (7.0, 7.5, 1000.0)]


def test_a_week_belongs_to_the_dates_in_which_it_begins_and_has_all_its_days(tmp_path: Path) -> None:
    store, dates = StoreOnDisk(tmp_path), ("2024-03-04", "2024-03-08", "2024-03-11")
    keep_official(store, "AAPL", *(official(text, float(text[-2:])) for text in dates))

    def opens(first: str, last: str) -> list[tuple[float, float]]:
        return [(row["open"], row["close"]) for row in load(store, Timeframe.WEEK_1, first, last)]

    assert opens("2024-03-04", "2024-03-04") == [(4.0, 8.5)]
    assert opens("2024-03-05", "2024-03-10") == []
    assert opens("2024-03-05", "2024-03-11") == [(11.0, 11.5)]


@pytest.mark.parametrize(
    ("source", "opens"), [(None, [7.0, 60.0]), ("official", [7.0]), ("minutes", [60.0]), ("mixed", [])]
)
def test_a_source_narrows(tmp_path: Path, source: str | None, opens: list[float]) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*((day("AAPL", text), [bar(f"{text}T14:30:00Z", 60.0)]) for text in ("2024-01-02", "2024-01-03")))
    store.refresh("AAPL", [Timeframe.DAY_1])
    keep_official(store, "AAPL", official("2024-01-02", 7.0))
    wanted = None if source is None else DaySource.parse(source)

    found = load(store, Timeframe.DAY_1, "2024-01-01", "2024-01-31", source=wanted)

    assert [row["open"] for row in found] == opens


@pytest.mark.parametrize("timeframe", list(DAYS))
def test_a_past_has_the_official_days_that_were_known_then(tmp_path: Path, timeframe: Timeframe) -> None:
    store = StoreOnDisk(tmp_path, closing_auction=0)
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 50.0), bar("2024-01-02T21:00:00Z", 55.0)]))
    keep_official(store, "AAPL", official("2024-01-02", 7.0))
    known = store.clock.now().plus(timedelta(days=1))
    path = store.layout.official_days(Symbol("AAPL"), 2024)
    os.utime(path, ns=(known.epoch_micros * 1000, known.epoch_micros * 1000))

    def at(moment: Timestamp) -> list[tuple[float, float, str]]:
        found = load(store, timeframe, "2024-01-01", "2024-01-31", as_of=moment)
        return [(row["open"], row["close"], row["source"]) for row in found]

    assert at(known.plus(timedelta(seconds=-1))) == [(50.0, 55.0, "minutes")]
    assert at(known) == [(7.0, 7.5, "official")]


def test_a_damaged_file_of_official_days_is_an_error(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    keep_official(store, "AAPL", official("2024-01-02"))
    path = store.layout.official_days(Symbol("AAPL"), 2024)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(PartitionUnreadableError, match=r"year=2024\.parquet is damaged"):
        load(store, Timeframe.DAY_1, "2024-01-01", "2024-01-31")


@pytest.mark.parametrize(
    ("timeframe", "first", "last", "days"),
    [
        (Timeframe.WEEK_1, "2024-02-28", "2024-03-01", ("2024-02-26", "2024-03-03")),
        (Timeframe.WEEK_1, "2024-03-03", "2024-03-04", ("2024-02-26", "2024-03-10")),
        (Timeframe.MONTH_1, "2024-02-28", "2024-03-01", ("2024-02-01", "2024-03-31")),
        (Timeframe.MONTH_1, "2024-12-31", "2024-12-31", ("2024-12-01", "2024-12-31")),
        (Timeframe.WEEK_1, "9999-12-30", "9999-12-31", ("9999-12-27", "9999-12-31")),
        (Timeframe.MONTH_1, "0001-01-05", "9999-12-31", ("0001-01-01", "9999-12-31")),
    ],
)
def test_the_days_of_periods_are_whole_weeks_and_months(
    timeframe: Timeframe, first: str, last: str, days: tuple[str, str]
) -> None:
    found = days_of_periods(TradingDate.parse(first), TradingDate.parse(last), timeframe)

    assert tuple(map(str, found)) == days


def test_first_sessions_are_after_weekends_and_holidays() -> None:
    some = sessions("2023-12-29", "2024-01-16")

    weeks, months = (
        [(str(row["period"]), str(row["first"])) for row in first_sessions(some, unit).to_pylist()]
        for unit in (Timeframe.WEEK_1, Timeframe.MONTH_1)
    )

    assert weeks == [
        ("2023-12-25", "2023-12-29"),
        ("2024-01-01", "2024-01-02"),
        ("2024-01-08", "2024-01-08"),
        ("2024-01-15", "2024-01-16"),
    ]
    assert months == [("2023-12-01", "2023-12-29"), ("2024-01-01", "2024-01-02")]
