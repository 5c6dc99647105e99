"""Copies that stay open in an open store: used only while their file is the same."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.storage_metadata import PREFIX
from marketpipe.storage.infrastructure.aggregates.read_copies import (
    FreshCopies,
    FreshCopy,
    OpenedCopies,
    ReadCopy,
    encode_copy,
)
from marketpipe.storage.infrastructure.reading.stored_minutes import BarRange, StoredMinutes
from marketpipe.storage.infrastructure.store_layout import ARROW
from marketpipe.testing import bar, bar_table
from tests.support.builders import day
from tests.support.examples import thoroughly
from tests.support.store_on_disk import StoreOnDisk

MONTHS = [MonthPartition(Symbol("AAPL"), 2024, month) for month in (1, 2, 3)]
JANUARY = MONTHS[0]
OTHER = DatasetIdentity("other", "other", "raw")


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path, copy_format=ARROW)
    for month in ("01", "02", "03"):
        store.keep((day("AAPL", f"2024-{month}-05"), [bar(f"2024-{month}-05T15:00:00Z", 100.0)]))
    store.refresh("AAPL", [Timeframe.MINUTE_1])
    return store


def fresh(store: StoreOnDisk, opened: OpenedCopies, month: MonthPartition = JANUARY) -> FreshCopy:
    found = FreshCopies(store.layout, lambda: None, opened=opened).of(month)
    assert found is not None
    return found


def opened_again(copy: FreshCopy) -> ReadCopy:
    found = copy.opened()
    assert found is not None
    return found


def test_a_copy_is_opened_once(store: StoreOnDisk) -> None:
    opened = OpenedCopies()

    assert opened_again(fresh(store, opened)) is opened_again(fresh(store, opened))


def test_a_copy_that_was_made_again_is_opened_again(store: StoreOnDisk) -> None:
    opened = OpenedCopies()
    assert opened_again(fresh(store, opened)).bars(BAR_SCHEMA)["open"].to_pylist() == [100.0]
    store.keep((day("AAPL", "2024-01-05"), [bar("2024-01-05T15:00:00Z", 7.0)]))
    store.refresh("AAPL", [Timeframe.MINUTE_1])

    assert opened_again(fresh(store, opened)).bars(BAR_SCHEMA)["open"].to_pylist() == [7.0]


@pytest.mark.parametrize("length", [0, 9, -60])
def test_a_copy_that_is_cut_under_the_time_that_it_had_is_not_used(store: StoreOnDisk, length: int) -> None:
    opened, path = OpenedCopies(), Path(store.layout.copy(JANUARY, ARROW))
    opened_again(fresh(store, opened))
    found = path.stat()
    path.with_name("other").write_bytes(path.read_bytes()[:length])
    os.utime(path.with_name("other"), ns=(found.st_mtime_ns, found.st_mtime_ns))
    path.with_name("other").rename(path)

    assert fresh(store, opened).bars(BAR_SCHEMA) is None


def test_a_copy_that_is_replaced_after_it_was_found_is_not_kept(store: StoreOnDisk) -> None:
    opened = OpenedCopies()
    copy = fresh(store, opened)
    store.keep((day("AAPL", "2024-01-05"), [bar("2024-01-05T15:00:00Z", 7.0)]))
    store.refresh("AAPL", [Timeframe.MINUTE_1])

    assert copy.opened() is None
    assert opened_again(fresh(store, opened)).bars(BAR_SCHEMA)["open"].to_pylist() == [7.0]


def test_a_copy_for_another_dataset_is_checked_again(store: StoreOnDisk) -> None:
    opened = OpenedCopies()
    opened_again(fresh(store, opened))
    found = FreshCopies(store.layout, lambda: OTHER, opened=opened).of(JANUARY)

    assert found is not None
    assert found.opened() is None


def test_one_copy_leaves_if_there_are_too_many(store: StoreOnDisk) -> None:
    opened = OpenedCopies(most=2)
    first, second, third = (opened_again(fresh(store, opened, month)) for month in MONTHS)

    assert opened_again(fresh(store, opened, MONTHS[2])) is third
    before = {id(first), id(second)}
    assert len([month for month in MONTHS[:2] if id(opened_again(fresh(store, opened, month))) in before]) < 2


def test_after_a_close_nothing_is_mapped_but_what_was_read(store: StoreOnDisk) -> None:
    opened = OpenedCopies()
    path = str(store.layout.copy(JANUARY, ARROW))
    bars = fresh(store, opened).bars(BAR_SCHEMA)
    opened_again(fresh(store, opened, MONTHS[1]))
    opened.close()

    maps = Path("/proc/self/maps").read_text()
    assert path in maps
    assert str(store.layout.copy(MONTHS[1], ARROW)) not in maps
    assert bars is not None
    assert bars["open"].to_pylist() == [100.0]


@thoroughly
def test_months_without_a_copy_do_not_keep_those_with_one_from_being_mapped(store: StoreOnDisk) -> None:
    first, last = TradingDate.parse("1300-01-01"), TradingDate.parse("2024-03-31")
    bars = StoredMinutes(store.layout).read([BarRange(JANUARY.symbol, first, last, Timeframe.MINUTE_1)])

    assert [len(table) for table in bars] == [3]
    assert str(store.layout.copy(JANUARY, ARROW)) in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    ("rows", "moments"),
    [
        ({2: 2, 3: 0, 5: 1}, ["2024-01-02T15:00:00Z", "2024-01-03T04:59:00Z", "2024-01-05T15:00:00Z"]),
        ({2: 3}, ["2024-01-02T15:00:00Z", "2024-01-03T05:00:00Z", "2024-01-03T15:00:00Z"]),
        ({2: 0}, []),
    ],
)
def test_each_bar_has_its_date_in_new_york_whatever_day_file_it_came_from(
    rows: dict[int, int], moments: list[str]
) -> None:
    bars = bar_table([bar(moment, 1.0) for moment in moments])
    metadata = {f"{PREFIX}symbol": "AAPL", f"{PREFIX}period": "2024-01"}
    copy = ReadCopy.of(pa.py_buffer(encode_copy(bars, rows, metadata, ARROW)), f"month=01.{ARROW}")

    days = copy.trading_dates.to_pylist()

    assert days == [TradingDate.of(Timestamp.parse(moment)).day for moment in moments]
