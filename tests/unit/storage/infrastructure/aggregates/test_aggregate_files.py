"""Aggregate files are rebuilt if they no longer agree with their minutes, and no others are."""

from __future__ import annotations

import shutil
from pathlib import Path

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.parquet_files import read_metadata, sha256
from tests.support.aggregated_store import FILES, MONTHS, daily_closes, files_of, fingerprint, keep, written
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk, tree


def test_a_store_is_aggregated_by_month_and_year(store: StoreOnDisk) -> None:
    assert set(fingerprint(store)) == set().union(*map(files_of, MONTHS))
    assert daily_closes(store, "2023") == {"2023-12-04": 11.5, "2023-12-05": 20.5}
    assert daily_closes(store) == {
        f"2024-{month:02d}-{number}": close for month in (1, 3, 4) for number, close in (("04", 11.5), ("05", 20.5))
    }


def test_an_aggregate_names_what_it_was_made_from(store: StoreOnDisk) -> None:
    daily = read_metadata(store.aggregate_path("AAPL", Timeframe.DAY_1, "2024-01"))
    hourly = read_metadata(store.aggregate_path("AAPL", Timeframe.HOUR_1, "2024-03"))

    assert (daily["marketpipe.period"], daily["marketpipe.timeframe"]) == ("2024", "1d")
    assert (hourly["marketpipe.period"], hourly["marketpipe.timeframe"]) == ("2024-03", "1h")
    sources = {key.removeprefix("marketpipe.source.") for key in daily if key.startswith("marketpipe.source.")}
    assert sources == {"2024-01", "2024-03", "2024-04"}
    digests = [sha256(store.path(day("AAPL", f"2024-03-{number}")).read_bytes())[:16] for number in ("04", "05")]
    assert hourly["marketpipe.source.2024-03"] == f"04={digests[0]} 05={digests[1]}"
    assert daily["marketpipe.source.2024-03"] == hourly["marketpipe.source.2024-03"]
    assert (daily["marketpipe.provider"], daily["marketpipe.feed"], daily["marketpipe.adjustment"]) == (
        "alpaca",
        "sip",
        "raw",
    )


def test_what_agrees_with_its_minutes_is_not_written_again(store: StoreOnDisk) -> None:
    before = fingerprint(store)

    assert store.refresh("AAPL") == AggregationReport(0, FILES)
    assert fingerprint(store) == before


def test_a_changed_day_rewrites_its_month_and_its_year_alone(store: StoreOnDisk) -> None:
    before = fingerprint(store)
    keep(store, "2024-03-05", 99.0)

    assert store.refresh("AAPL") == AggregationReport(6, FILES - 6)

    after = fingerprint(store)
    assert written(before, after) == files_of("2024-03")
    assert {name: after[name] for name in set(after) - files_of("2024-03")} == {
        name: before[name] for name in set(before) - files_of("2024-03")
    }
    assert daily_closes(store) == {
        "2024-01-04": 11.5,
        "2024-01-05": 20.5,
        "2024-03-04": 11.5,
        "2024-03-05": 99.5,
        "2024-04-04": 11.5,
        "2024-04-05": 20.5,
    }


def test_a_new_day_rewrites_its_month_and_its_year_alone(store: StoreOnDisk) -> None:
    before = fingerprint(store)
    keep(store, "2024-04-08", 30.0)

    store.refresh("AAPL")

    assert written(before, fingerprint(store)) == files_of("2024-04")
    assert daily_closes(store)["2024-04-08"] == 30.5


def test_a_new_month_and_a_new_year_leave_the_others_alone(store: StoreOnDisk) -> None:
    before = fingerprint(store)
    keep(store, "2025-01-02", 30.0)
    keep(store, "2024-12-02", 40.0)

    store.refresh("AAPL")

    assert written(before, fingerprint(store)) == files_of("2025-01") | files_of("2024-12")
    assert list(daily_closes(store)) == sorted(daily_closes(store))
    assert daily_closes(store)["2024-12-02"] == 40.5
    assert daily_closes(store, "2025") == {"2025-01-02": 30.5}


def test_the_same_minutes_stored_again_rewrite_nothing(store: StoreOnDisk) -> None:
    before = fingerprint(store)
    keep(store, "2024-03-05", 20.0)

    assert store.refresh("AAPL") == AggregationReport(0, FILES)
    assert written(before, fingerprint(store)) == set()


def test_a_refresh_of_one_month_loses_no_daily_bar_of_another(store: StoreOnDisk) -> None:
    complete = daily_closes(store)
    keep(store, "2024-03-05", 99.0)
    keep(store, "2024-04-05", 88.0)

    assert store.refresh("AAPL", first="2024-03-01", last="2024-03-31") == AggregationReport(6, 0)

    assert daily_closes(store) == {**complete, "2024-03-05": 99.5, "2024-04-05": 88.5}
    assert store.refresh("AAPL") == AggregationReport(5, FILES - 5)


def test_daily_bars_of_a_month_that_was_never_asked_for_are_not_missing(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    for month in MONTHS[1:]:
        keep(store, f"{month}-04", 10.0)

    store.refresh("AAPL", [Timeframe.DAY_1], first="2024-03-04", last="2024-03-04")

    assert list(daily_closes(store)) == ["2024-01-04", "2024-03-04", "2024-04-04"]


def test_both_dates_choose_whole_months_inclusively(store: StoreOnDisk) -> None:
    shutil.rmtree(store.layout.aggregates)

    assert store.refresh("AAPL", [Timeframe.HOUR_1], "2023-12-31", "2024-01-01") == AggregationReport(2, 0)
    assert store.refresh("AAPL", [Timeframe.HOUR_1], "2024-05-01") == AggregationReport(0, 0)
    assert store.refresh("AAPL", [Timeframe.HOUR_1], last="2024-03-01") == AggregationReport(1, 2)


def test_the_same_minutes_give_the_same_bytes_whatever_way_they_came(store: StoreOnDisk, tmp_path: Path) -> None:
    other = StoreOnDisk(tmp_path / "other")
    for month in reversed(MONTHS):
        keep(other, f"{month}-05", 20.0)
        other.refresh("AAPL")
        keep(other, f"{month}-04", 10.0, 99.0)
        other.refresh("AAPL", [Timeframe.DAY_1])
        keep(other, f"{month}-04", 10.0, 11.0)
        other.refresh("AAPL")

    assert tree(other.layout.aggregates) == tree(store.layout.aggregates)


def test_a_symbol_without_bars_has_nothing_to_refresh(store: StoreOnDisk) -> None:
    keep(store, "2024-01-04", 1.0, symbol="MSFT")
    before = fingerprint(store)

    assert store.refresh("NONE") == AggregationReport(0, 0)
    assert fingerprint(store) == before
    assert store.refresh("MSFT") == AggregationReport(6, 0)
    assert written(before, fingerprint(store)) == files_of("2024-01", "MSFT")
