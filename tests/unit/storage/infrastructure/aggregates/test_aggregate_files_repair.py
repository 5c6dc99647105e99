"""Aggregate files that were lost, copied or damaged, and minutes that were taken away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.parquet_files import read_metadata
from tests.support.aggregated_store import FILES, daily_closes, fingerprint, keep, written
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk, tree


def test_a_copied_tree_gets_its_fingerprints_back_and_is_not_written_again(store: StoreOnDisk, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "data", tmp_path / "copy" / "data", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "aggregates", tmp_path / "copy" / "aggregates", copy_function=shutil.copyfile)
    copy = StoreOnDisk(tmp_path / "copy")
    before = fingerprint(copy)

    assert copy.refresh("AAPL") == AggregationReport(0, FILES)

    restored = fingerprint(copy)
    assert written(before, restored) == set()
    assert all(restored[name] != before[name] for name in before)
    assert copy.refresh("AAPL") == AggregationReport(0, FILES)
    assert fingerprint(copy) == restored


@pytest.mark.parametrize("timeframe", [Timeframe.MINUTE_5, Timeframe.DAY_1])
def test_a_missing_aggregate_is_made_again(store: StoreOnDisk, timeframe: Timeframe) -> None:
    before, path = tree(store.layout.aggregates), store.aggregate_path("AAPL", timeframe, "2024-03")
    path.unlink()

    assert store.refresh("AAPL") == AggregationReport(1, FILES - 1)
    assert tree(store.layout.aggregates) == before


@pytest.mark.parametrize("timeframe", [Timeframe.MINUTE_5, Timeframe.DAY_1])
@pytest.mark.parametrize("damage", ["truncated", "behind its footer", "empty", "another file"])
def test_a_damaged_aggregate_is_made_again(store: StoreOnDisk, timeframe: Timeframe, damage: str) -> None:
    before, path = tree(store.layout.aggregates), store.aggregate_path("AAPL", timeframe, "2024-03")
    content = path.read_bytes()
    damaged = {
        "truncated": content[:-20],
        "behind its footer": content[:4] + b"\xff" * 60 + content[64:],
        "empty": b"",
        "another file": store.path(day("AAPL", "2024-03-05")).read_bytes(),
    }
    path.write_bytes(damaged[damage])

    assert store.refresh("AAPL") == AggregationReport(1, FILES - 1)
    assert tree(store.layout.aggregates) == before


def test_a_damaged_daily_file_does_not_stand_in_the_way_of_a_changed_day(store: StoreOnDisk) -> None:
    path = store.aggregate_path("AAPL", Timeframe.DAY_1, "2024-03")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    keep(store, "2024-03-05", 99.0)

    assert store.refresh("AAPL") == AggregationReport(6, FILES - 6)
    assert len(daily_closes(store)) == 6
    assert daily_closes(store)["2024-03-05"] == 99.5


def test_a_day_that_was_taken_away_goes_from_the_aggregates(store: StoreOnDisk) -> None:
    store.path(day("AAPL", "2024-03-05")).unlink()

    assert store.refresh("AAPL") == AggregationReport(6, FILES - 6)
    assert "2024-03-05" not in daily_closes(store)
    assert "2024-03-04" in daily_closes(store)


def test_a_month_whose_last_day_was_taken_away_has_no_bars(store: StoreOnDisk) -> None:
    for number in ("04", "05"):
        store.path(day("AAPL", f"2024-03-{number}")).unlink()

    store.refresh("AAPL")

    assert store.rows(store.aggregate_path("AAPL", Timeframe.HOUR_1, "2024-03")) == []
    assert list(daily_closes(store)) == ["2024-01-04", "2024-01-05", "2024-04-04", "2024-04-05"]


def test_aggregates_outlive_a_month_of_minutes_that_was_taken_away(store: StoreOnDisk) -> None:
    before, hours = daily_closes(store), store.aggregate_path("AAPL", Timeframe.HOUR_1, "2024-03").read_bytes()
    shutil.rmtree(store.path(day("AAPL", "2024-03-05")).parent)
    keep(store, "2024-04-05", 55.0)

    store.refresh("AAPL")

    assert daily_closes(store) == {**before, "2024-04-05": 55.5}
    assert store.aggregate_path("AAPL", Timeframe.HOUR_1, "2024-03").read_bytes() == hours


def test_daily_bars_outlive_their_minutes_when_all_that_is_left_of_the_year_has_changed(store: StoreOnDisk) -> None:
    before, path = daily_closes(store), store.aggregate_path("AAPL", Timeframe.DAY_1, "2024-01")
    found = read_metadata(path)
    for month in ("01", "03"):
        shutil.rmtree(store.path(day("AAPL", f"2024-{month}-05")).parent)
    keep(store, "2024-04-05", 55.0)

    store.refresh("AAPL")

    assert daily_closes(store) == {**before, "2024-04-05": 55.5}
    assert {key for key, value in read_metadata(path).items() if found[key] != value} == {"marketpipe.source.2024-04"}


def test_a_day_file_that_was_copied_over_is_noticed_though_its_folder_is_unchanged(
    store: StoreOnDisk,
) -> None:
    path, other = store.path(day("AAPL", "2024-03-05")), store.path(day("AAPL", "2024-03-04"))
    folder = path.parent.stat().st_mtime_ns
    path.write_bytes(other.read_bytes())

    assert path.parent.stat().st_mtime_ns == folder
    assert store.refresh("AAPL") == AggregationReport(6, FILES - 6)


def test_daily_bars_made_alone_have_the_bytes_of_those_made_with_others(store: StoreOnDisk) -> None:
    path = store.aggregate_path("AAPL", Timeframe.DAY_1, "2024-01")
    whole = path.read_bytes()
    path.unlink()

    assert store.refresh("AAPL") == AggregationReport(1, FILES - 1)
    assert path.read_bytes() == whole


def test_a_damaged_day_file_leaves_the_old_aggregates(store: StoreOnDisk) -> None:
    before = tree(store.layout.aggregates)
    path = store.path(day("AAPL", "2024-03-05"))
    keep(store, "2024-03-04", 77.0)
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(StorageError, match="symbol=AAPL/year=2024/month=03"):
        store.refresh("AAPL")

    assert tree(store.layout.aggregates) == before


def test_a_day_file_that_is_a_folder_is_an_error_that_names_it(store: StoreOnDisk) -> None:
    store.path(day("AAPL", "2024-03-07")).mkdir()

    with pytest.raises(StorageError, match=r"day=07\.parquet"):
        store.refresh("AAPL")


def test_a_file_in_the_place_of_a_years_aggregates_does_not_stand_in_the_way_of_the_next_year(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    keep(store, "2023-03-01", 10.0)
    keep(store, "2024-03-01", 20.0)
    blocked, made = (store.aggregate_path("AAPL", Timeframe.MINUTE_5, f"{year}-03") for year in (2023, 2024))
    blocked.parent.parent.mkdir(parents=True)
    blocked.parent.write_text("")

    with pytest.raises(StorageError, match="year=2023"):
        store.refresh("AAPL", [Timeframe.MINUTE_5])

    assert made.exists()
