"""A whole store on a disk of objects has what one on the file system has, and answers the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import read_bytes, walk
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import scan_day_files
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.object_disks import ROOM, ObjectsInMemory
from tests.support.store_on_disk import StoreOnDisk

DAYS = [day(symbol, f"2024-{month}") for symbol in ("AAPL", "BRK.B") for month in ("01-02", "01-03", "02-01")]


@pytest.fixture
def objects() -> ObjectsInMemory:
    return ObjectsInMemory()


@pytest.fixture
def stores(tmp_path: Path, objects: ObjectsInMemory) -> list[StoreOnDisk]:
    return [StoreOnDisk(tmp_path, machine=HERE), StoreOnDisk(Path(ROOM), machine=objects.machine())]


def files(store: StoreOnDisk) -> dict[str, tuple[bytes, int]]:
    disk, found = store.machine.disk, dict[str, tuple[bytes, int]]()
    for area in ("data", "aggregates", "quarantine", "revisions"):
        for folder, _, names in walk(disk, store.root / area):
            for path in (f"{folder}/{name}" for name in names):
                content = read_bytes(disk, path)
                found[path.removeprefix(str(store.root))] = content, disk.stat(path).st_mtime_ns
    return found


def fill(store: StoreOnDisk) -> Timestamp:
    """Return a moment before the first day was corrected."""
    store.keep(*((each, [at(0), at(1)]) for each in DAYS))
    store.clock.advance(1800)
    before = store.clock.now()
    store.clock.advance(1800)
    store.keep((DAYS[0], [at(0), at(2)]))  # the former version becomes a revision
    store.refresh("AAPL")
    return before


def test_both_have_the_same_files_with_the_same_bytes_and_times(stores: list[StoreOnDisk]) -> None:
    for store in stores:
        fill(store)

    one, other = map(files, stores)

    assert one.keys() == other.keys()
    assert {path: content for path, (content, _) in one.items()} == {path: c for path, (c, _) in other.items()}
    minutes = [path for path in one if path.startswith("/data")]
    assert {path: one[path][1] for path in minutes} == {path: other[path][1] for path in minutes}
    assert any(path.startswith("/revisions") for path in one)


def test_both_are_loaded_and_compacted_alike(stores: list[StoreOnDisk]) -> None:
    for store in stores:
        fill(store)
        assert store.compact("AAPL") is not None
    month = MonthPartition(Symbol("AAPL"), 2024, 1)

    one, other = ([path.name for path in store.layout.day_files(month)] for store in stores)
    assert one == other == ["day=02.parquet", "day=03.parquet"]
    months = [read_bytes(s.machine.disk, s.layout.month(month) / "days.parquet") for s in stores]
    assert months[0] == months[1]


@pytest.mark.parametrize("timeframe", [Timeframe.MINUTE_1, Timeframe.parse("5m"), Timeframe.DAY_1])
def test_both_load_the_same_bars_now_and_as_of_a_moment(stores: list[StoreOnDisk], timeframe: Timeframe) -> None:
    before, _ = map(fill, stores)
    year = TradingDate.parse("2024-01-01"), TradingDate.parse("2024-12-31")
    loaded = [
        [store.loader.load([Symbol("AAPL")], *year, timeframe, moment) for moment in (None, before)] for store in stores
    ]

    assert all(table.num_rows for table in loaded[0])
    assert timeframe is not Timeframe.MINUTE_1 or not loaded[0][0].equals(loaded[0][1])
    assert all(one.equals(other) for one, other in zip(*loaded, strict=True))


def test_the_days_of_a_compacted_month_are_listed_without_a_request(
    stores: list[StoreOnDisk], objects: ObjectsInMemory
) -> None:
    _, store = stores
    fill(store)
    month = MonthPartition(Symbol("AAPL"), 2024, 1)
    before = scan_day_files(store.layout.month(month), store.layout.disk)
    assert store.compact("AAPL") is not None
    fresh = StoreOnDisk(Path(ROOM), machine=objects.machine()).layout
    objects.store.requests.clear()

    assert scan_day_files(fresh.month(month), fresh.disk) == before
    assert objects.store.requests == {}
