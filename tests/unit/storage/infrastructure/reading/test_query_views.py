"""Bars that no file has are made of minutes, and are to the bit those that a file would have. See ADR 0031."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.bar_selection import BarSelection
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.examples import examples
from tests.support.sparse_minutes import FULL_DAYS, MonthOfMinutes, months_of_minutes
from tests.support.store_on_disk import StoreOnDisk

KEPT = tuple(timeframe for timeframe in Timeframe if timeframe.is_aggregated)
SYMBOLS = tuple(map(Symbol, ("AAPL", "MSFT")))
YEAR = TradingDate.parse("2024-01-01"), TradingDate.parse("2024-12-31")


@contextmanager
def stored(months: tuple[MonthOfMinutes, ...], closing_auction: int | None = None) -> Iterator[StoreOnDisk]:
    """Yield a store with a month of each symbol, without aggregates."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder), closing_auction=closing_auction)
        for symbol, minutes in zip(SYMBOLS, months, strict=True):
            minutes.write(store.layout.data, str(symbol))
        yield store


def ask(store: StoreOnDisk, timeframe: Timeframe) -> pa.Table:
    return store.query.run(f"SELECT * FROM bars_{timeframe} ORDER BY symbol, timestamp")


def load(store: StoreOnDisk, timeframe: Timeframe) -> pa.Table:
    return store.loader.load(SYMBOLS, *YEAR, timeframe, selection=BarSelection.of(timeframe, trading_date=True))


@examples(12)
@given(st.tuples(months_of_minutes(), months_of_minutes()), st.sampled_from(KEPT), st.sampled_from([None, 0, 1]))
def test_bars_without_a_file_are_those_of_a_file(
    months: tuple[MonthOfMinutes, ...], timeframe: Timeframe, closing_auction: int | None
) -> None:
    with stored(months, closing_auction) as store:
        made, loaded = ask(store, timeframe), load(store, timeframe)
        store.refresh("AAPL", [timeframe])
        mixed = ask(store, timeframe)
        store.refresh("MSFT", [timeframe])

        found = ask(store, timeframe)
        assert made.equals(found)
        assert mixed.equals(found)
        assert loaded.equals(load(store, timeframe))
        assert loaded.equals(found.select(loaded.column_names))


@pytest.mark.parametrize("timeframe", [each for each in KEPT if str(each) in ("3m", "4h", "1d")])
def test_full_days_without_a_file_are_those_of_a_file(timeframe: Timeframe) -> None:
    with stored((FULL_DAYS, FULL_DAYS), 0) as store:
        made = ask(store, timeframe)
        for symbol in SYMBOLS:
            store.refresh(str(symbol), [timeframe])
        assert made.equals(ask(store, timeframe))
        assert len(made) == 2 * len(FULL_DAYS.aggregated(timeframe, 0))


@examples(6)
@given(st.tuples(months_of_minutes(), months_of_minutes()), st.sampled_from(["1w", "1mo"]))
def test_weeks_and_months_need_no_file_of_days(months: tuple[MonthOfMinutes, ...], length: str) -> None:
    timeframe = Timeframe.parse(length)
    with stored(months) as store:
        made = ask(store, timeframe)
        assert made.equals(load(store, timeframe).select(made.column_names))


@examples(8)
@given(st.tuples(months_of_minutes(), months_of_minutes()), st.sampled_from(["1m", "2m", "1h"]))
def test_the_session_of_a_bar_is_that_by_which_loading_narrows(months: tuple[MonthOfMinutes, ...], length: str) -> None:
    timeframe = Timeframe.parse(length)
    view = "bars" if length == "1m" else f"bars_{length}"
    with stored(months) as store:
        found = store.query.run(f"SELECT * FROM {view} WHERE session = 'regular' ORDER BY symbol, timestamp")
        wanted = BarSelection.of(timeframe, "regular", trading_date=True)
        loaded = store.loader.load(SYMBOLS, *YEAR, timeframe, selection=wanted)
        assert loaded.equals(found.select(loaded.column_names))


def test_a_session_ends_early_on_half_days_and_closed_days_have_none(tmp_path: Path) -> None:
    store, half, full, closed = StoreOnDisk(tmp_path), "2024-11-29", "2024-12-02", "2024-11-28"
    times = ("08:59", "09:00", "14:29", "14:30", "17:59", "18:00", "20:59", "21:00", "21:59", "22:00")
    for date in (half, full, closed):
        store.keep((day("AAPL", date), [bar(f"{date}T{time}:00Z") for time in times]))

    found = store.query.run(
        "SELECT trading_date, list(session ORDER BY timestamp) AS s FROM bars GROUP BY 1 ORDER BY 1"
    )

    names: dict[str, Any] = {f"{row['trading_date']}": row["s"] for row in found.to_pylist()}
    assert names[closed] == [None] * 10
    assert names[half] == [None, *["early"] * 2, *["regular"] * 2, *["late"] * 4, None]
    assert names[full] == [None, *["early"] * 2, *["regular"] * 4, *["late"] * 3]


def test_a_condition_on_the_symbol_reaches_the_files_through_every_level() -> None:
    with stored((FULL_DAYS, FULL_DAYS)) as store:
        plan = store.query.run("EXPLAIN ANALYZE SELECT * FROM bars_4h WHERE symbol = concat('MS', 'FT')").to_pylist()

    assert "Scanning Files: 3/6" in str(plan)


def test_a_month_that_lost_its_file_is_made_of_its_minutes_alone(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path / "a [store]'s")
    for date in ("2024-01-02", "2024-02-01", "2024-03-01"):
        store.keep((day("AAPL", date), [bar(f"{date}T15:00:00Z"), bar(f"{date}T15:01:00Z")]))
    store.refresh("AAPL", [Timeframe.MINUTE_5])
    everything = ask(store, Timeframe.MINUTE_5)
    store.aggregate_path("AAPL", Timeframe.MINUTE_5, "2024-02").unlink()
    store.path(day("AAPL", "2024-03-01")).unlink()

    assert ask(store, Timeframe.MINUTE_5).equals(everything)
