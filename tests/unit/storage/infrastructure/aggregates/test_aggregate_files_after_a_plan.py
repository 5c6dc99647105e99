"""Right after a plan has scanned all day files, the check of the aggregates does not scan them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.aggregates.aggregate_files import AggregateFiles, ScannedYears
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
from marketpipe.storage.infrastructure.inventory.file_inventory import FileInventory
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
from tests.support.aggregated_store import FILES, keep
from tests.support.builders import CALENDAR, day
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk
from tests.support.system_calls import SystemCalls

AAPL = Symbol("AAPL")
FIRST, LAST = TradingDate.parse("2023-01-01"), TradingDate.parse("2024-12-31")
FRESH = AggregationReport(0, FILES)


def planned(store: StoreOnDisk, first: str = "2023-01-01", last: str = "2024-12-31") -> ScannedYears:
    """What is remembered of a plan for these dates."""
    scanned = ScannedYears()
    FileInventory(store.layout, scanned).marks(AAPL, TradingDate.parse(first), TradingDate.parse(last))
    return scanned


def checked(
    store: StoreOnDisk, scanned: ScannedYears, first: TradingDate | None = FIRST, last: TradingDate | None = LAST
) -> AggregationReport | None:
    """The count of the fresh files, None if one of them is not."""
    writer = ParquetWriter(store.compression)
    files = AggregateFiles(store.layout, store.identity, lambda: BarAggregator(CALENDAR), writer, store.files, scanned)
    return files.up_to_date(AAPL, AGGREGATED, first, last)


def test_aggregates_of_the_files_that_were_scanned_are_fresh(store: StoreOnDisk) -> None:
    assert checked(store, planned(store)) == FRESH
    assert checked(store, planned(store), None, None) == FRESH


def test_no_month_is_scanned_again(store: StoreOnDisk) -> None:
    scanned = planned(store)
    with SystemCalls(store.root) as calls:
        assert checked(store, scanned) == FRESH
    assert "scandir" not in calls.names()

    keep(store, "2024-03-05", 99.0)
    assert checked(store, scanned) == FRESH, "what came after the scan is for the next plan to see"


@pytest.mark.parametrize("first", ["2024-02-15", "2024-03-05", "2024-04-01", "2024-12-31", "2025-01-01"])
@pytest.mark.parametrize("last", ["2023-12-04", "2024-03-31", "2024-04-30"])
def test_a_part_counts_as_many_files_as_a_refresh_of_it(store: StoreOnDisk, first: str, last: str) -> None:
    bounds = TradingDate.parse(first), TradingDate.parse(last)
    assert checked(store, planned(store), *bounds) == store.refresh("AAPL", AGGREGATED, first, last)


def test_a_day_that_changed_before_the_scan_makes_its_aggregates_stale(store: StoreOnDisk) -> None:
    keep(store, "2024-03-05", 99.0)
    assert checked(store, planned(store)) is None


@pytest.mark.parametrize("timeframe", [Timeframe.HOUR_1, Timeframe.DAY_1])
def test_a_lost_or_touched_aggregate_is_not_fresh(store: StoreOnDisk, timeframe: Timeframe) -> None:
    file = store.aggregate_path("AAPL", timeframe, "2024-03")
    content = file.read_bytes()
    file.unlink()
    assert checked(store, planned(store)) is None
    file.write_bytes(content)
    assert checked(store, planned(store)) is None


def test_a_year_that_the_plan_did_not_scan_is_scanned(store: StoreOnDisk) -> None:
    forgotten = planned(store)
    forgotten.forget()
    for scanned in (ScannedYears(), forgotten, planned(store, "2023-01-01", "2023-12-31")):
        assert checked(store, scanned) == FRESH

    keep(store, "2024-03-05", 99.0)
    for scanned in (ScannedYears(), forgotten, planned(store, "2023-01-01", "2023-12-31")):
        assert checked(store, scanned) is None


def test_daily_bars_are_not_fresh_if_they_lack_a_month_that_the_plan_did_not_scan(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    keep(store, "2024-03-05", 10.0)
    store.refresh("AAPL")
    keep(store, "2024-01-04", 20.0)

    assert checked(store, planned(store, "2024-02-01"), TradingDate.parse("2024-02-01")) is None


def test_a_link_to_nowhere_among_the_day_files_is_an_error_that_names_it(store: StoreOnDisk) -> None:
    file = store.path(day("AAPL", "2024-03-05"))
    file.unlink()
    file.symlink_to(Path("nowhere"))

    with pytest.raises(StorageError, match=r"day=05\.parquet"):
        checked(store, planned(store))
    with pytest.raises(StorageError, match=r"day=05\.parquet"):
        store.refresh("AAPL")


def test_a_store_without_the_symbol_has_nothing_to_refresh(tmp_path: Path) -> None:
    assert checked(StoreOnDisk(tmp_path), ScannedYears()) == AggregationReport(0, 0)
