"""The inventory reports as stale what a refresh would rebuild, day by day, and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.inventory.file_inventory import FileInventory
from tests.support.aggregated_store import FILES, fingerprint, keep, written
from tests.support.builders import day
from tests.support.examples import examples
from tests.support.store_on_disk import StoreOnDisk

ALL = ("5m", "15m", "30m", "1h", "4h", "1d")
EARLIEST, LATEST = "2023-01-01", "2025-12-31"


def stale(store: StoreOnDisk, first: str = EARLIEST, last: str = LATEST) -> dict[str, tuple[str, ...]]:
    bounds = (TradingDate.parse(date) for date in (first, last))
    found = FileInventory(store.layout).stale_aggregates(Symbol("AAPL"), *bounds)
    return {str(date): timeframes for date, timeframes in found.items()}


def test_nothing_is_stale_after_a_refresh(store: StoreOnDisk) -> None:
    assert stale(store) == {}


@pytest.mark.parametrize(("before", "now"), [(None, 0), (0, None), (0, 5)])
def test_daily_bars_with_another_closing_auction_are_rebuilt_and_no_other_aggregates(
    tmp_path: Path, before: int | None, now: int | None
) -> None:
    store = StoreOnDisk(tmp_path / "auctions", closing_auction=before)
    keep(store, "2023-06-01", 10.0)
    keep(store, "2024-01-05", 10.0)
    store.refresh("AAPL")
    files, other = fingerprint(store), evolve(store, closing_auction=now)

    report = other.refresh("AAPL")

    assert written(files, fingerprint(store)) == {
        f"timeframe=1d/symbol=AAPL/year={year}.parquet" for year in (2023, 2024)
    }
    assert (report.written, other.refresh("AAPL").written) == (2, 0)


def test_a_new_day_is_lacking_in_the_aggregates_of_its_month_and_year(store: StoreOnDisk) -> None:
    keep(store, "2024-03-06", 30.0)
    keep(store, "2024-03-01", 31.0)

    assert list(stale(store).items()) == [("2024-03-01", ALL), ("2024-03-06", ALL)]


def test_a_new_month_is_lacking_in_the_daily_bars_of_its_year_alone(store: StoreOnDisk) -> None:
    keep(store, "2024-03-05", 99.0)
    keep(store, "2024-02-01", 30.0)

    assert list(stale(store).items()) == [("2024-02-01", ("1d",)), ("2024-03-05", ALL)]


def test_a_day_that_was_taken_away_makes_the_aggregates_of_its_month_stale(store: StoreOnDisk) -> None:
    store.path(day("AAPL", "2024-03-05")).unlink()

    assert stale(store) == {"2024-03-05": ALL}


def test_what_cannot_be_rebuilt_is_not_stale(store: StoreOnDisk) -> None:
    shutil.rmtree(store.path(day("AAPL", "2024-03-05")).parent)

    assert stale(store) == {}


def test_only_aggregates_that_exist_are_stale(store: StoreOnDisk) -> None:
    shutil.rmtree(store.layout.aggregates / "timeframe=15m")
    store.aggregate_path("AAPL", Timeframe.DAY_1, "2024-03").unlink()
    keep(store, "2024-03-05", 99.0)
    keep(store, "2023-12-05", 99.0)

    assert stale(store) == {"2023-12-05": ("5m", "30m", "1h", "4h", "1d"), "2024-03-05": ("5m", "30m", "1h", "4h")}


@pytest.mark.parametrize(
    ("timeframe", "dates"),
    [
        (Timeframe.HOUR_1, ["2024-03-04", "2024-03-05"]),
        (Timeframe.DAY_1, ["2024-01-04", "2024-01-05", "2024-03-04", "2024-03-05", "2024-04-04", "2024-04-05"]),
    ],
)
def test_a_damaged_aggregate_is_stale_of_all_days(store: StoreOnDisk, timeframe: Timeframe, dates: list[str]) -> None:
    path = store.aggregate_path("AAPL", timeframe, "2024-03")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 60 + content[64:])

    assert stale(store) == {date: (str(timeframe),) for date in dates}


def test_aggregates_that_know_only_whole_months_are_stale_and_rebuilt(store: StoreOnDisk) -> None:
    path = store.aggregate_path("AAPL", Timeframe.HOUR_1, "2024-03")
    content = path.read_bytes()
    rows = pq.ParquetFile(path).read()
    found = {**pq.read_metadata(path).metadata, b"marketpipe.source.2024-03": b"02" * 32}
    pq.write_table(rows.replace_schema_metadata(found), path)

    assert stale(store) == {"2024-03-04": ("1h",), "2024-03-05": ("1h",)}
    assert store.refresh("AAPL") == AggregationReport(1, FILES - 1)
    assert path.read_bytes() == content


def test_a_copied_tree_is_not_stale_and_gets_its_fingerprints_back(store: StoreOnDisk, tmp_path: Path) -> None:
    for root in ("data", "aggregates"):
        shutil.copytree(tmp_path / root, tmp_path / "copy" / root, copy_function=shutil.copyfile)
    copy = StoreOnDisk(tmp_path / "copy")

    assert stale(copy) == {}

    restored = fingerprint(copy)
    assert copy.refresh("AAPL") == AggregationReport(0, FILES)
    assert fingerprint(copy) == restored


def test_the_inventory_writes_no_aggregate(store: StoreOnDisk) -> None:
    keep(store, "2024-03-05", 99.0)
    before = fingerprint(store)

    assert stale(store) == stale(store) != {}
    assert fingerprint(store) == before


def test_a_day_that_is_no_file_hides_no_stale_aggregate_of_another_month(store: StoreOnDisk) -> None:
    keep(store, "2024-01-04", 99.0)
    store.path(day("AAPL", "2024-03-07")).mkdir()

    assert set(stale(store)) == {"2024-01-04"}


@frozen
class Keep:
    date: str
    price: float


@frozen
class TakeAway:
    date: str


@frozen
class Refresh:
    timeframes: tuple[Timeframe, ...]
    month: str


Step = Keep | TakeAway | Refresh
DATES = ("2023-12-29", "2024-01-04", "2024-01-05", "2024-03-04")
TIMEFRAMES = (Timeframe.HOUR_1, Timeframe.DAY_1)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Keep, st.sampled_from(DATES), st.sampled_from((10.0, 20.0))),
    st.builds(TakeAway, st.sampled_from(DATES)),
    st.builds(Refresh, st.sampled_from((TIMEFRAMES, TIMEFRAMES[1:])), st.sampled_from(DATES)),
)


@examples(25)
@given(st.lists(STEPS, min_size=3, max_size=10))
def test_stale_is_what_a_refresh_rebuilds(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder))
        for step in steps:
            _take(step, store)
        found, before = stale(store), fingerprint(store)

        store.refresh("AAPL", TIMEFRAMES)

        assert _files(store, found) == written(before, fingerprint(store)) & set(before)
        assert stale(store) == {}


def _take(step: Step, store: StoreOnDisk) -> None:
    match step:
        case Keep():
            keep(store, step.date, step.price)
        case TakeAway():
            store.path(day("AAPL", step.date)).unlink(missing_ok=True)
        case Refresh():
            store.refresh("AAPL", step.timeframes, step.month, step.month)


def _files(store: StoreOnDisk, found: Mapping[str, tuple[str, ...]]) -> set[str]:
    paths = (store.aggregate_path("AAPL", Timeframe(tf), date[:7]) for date, tfs in found.items() for tf in tfs)
    return {str(path.relative_to(store.layout.aggregates)) for path in paths}
