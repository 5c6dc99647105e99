"""Read copies as files: what is in them, and that no damaged one is taken for a copy."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpipe.config.classes import READ_COPIES
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.aggregates.read_copies import FreshCopies, ReadCopy, encode_copy
from marketpipe.storage.infrastructure.store_layout import COPY_FORMATS
from marketpipe.testing import bar, bar_table
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

JANUARY = MonthPartition(Symbol("AAPL"), 2024, 1)
FORMS = pytest.mark.parametrize("form", ["parquet", "arrow"])
MINUTES = [Timeframe.MINUTE_1]


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path)
    for date in ("2024-01-02", "2024-01-03", "2024-01-31"):
        store.keep((day("AAPL", date), [bar(f"{date}T15:0{minute}:00Z", 100.0 + minute) for minute in range(3)]))
    return store


def copied(store: StoreOnDisk, form: str) -> Path:
    store.copy_format = form
    store.refresh("AAPL", MINUTES)
    return Path(store.layout.copy(JANUARY, form))


def with_bytes(path: Path, content: bytes) -> None:
    """Write other content under the time that the file has."""
    found = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


def test_every_form_can_be_configured_and_no_other() -> None:
    assert {*READ_COPIES} == {"none", *COPY_FORMATS}


@FORMS
def test_a_copy_has_the_bars_of_its_month_without_schema_version(store: StoreOnDisk, form: str) -> None:
    path = copied(store, form)
    table = pq.read_table(path, partitioning=None) if form == "parquet" else pa.ipc.open_file(path).read_all()

    assert table.schema.equals(BAR_SCHEMA)
    assert table.to_pylist() == [row for file in store.layout.day_files(JANUARY) for row in store.rows(file)]


@FORMS
def test_an_unchanged_month_is_not_copied_again(store: StoreOnDisk, form: str) -> None:
    inode = copied(store, form).stat().st_ino

    assert store.refresh("AAPL", MINUTES) == AggregationReport(0, 1, copies_unchanged=1)
    assert copied(store, form).stat().st_ino == inode


@FORMS
def test_the_same_minutes_give_the_same_bytes(store: StoreOnDisk, form: str) -> None:
    path = copied(store, form)
    content = path.read_bytes()
    path.unlink()

    assert copied(store, form).read_bytes() == content


def test_another_form_takes_the_place_of_the_first(store: StoreOnDisk) -> None:
    first, second = copied(store, "parquet"), copied(store, "arrow")

    assert (first.exists(), second.exists()) == (False, True)


def test_the_first_form_stays_until_the_other_is_in_its_place(store: StoreOnDisk) -> None:
    first = copied(store, "parquet")
    in_its_way = Path(store.layout.copy(JANUARY, "arrow"))
    in_its_way.mkdir()

    with pytest.raises(StorageError):
        copied(store, "arrow")
    assert first.exists()


@FORMS
def test_a_copy_of_which_a_day_changed_is_no_longer_fresh(store: StoreOnDisk, form: str) -> None:
    copied(store, form)
    fresh = FreshCopies(store.layout, lambda: None).of(JANUARY)

    store.keep((day("AAPL", "2024-01-03"), [bar("2024-01-03T15:00:00Z", 7.0)]))

    assert fresh is not None
    assert FreshCopies(store.layout, lambda: None).of(JANUARY) is None


@FORMS
def test_a_copy_that_was_replaced_after_it_was_found_is_not_opened(store: StoreOnDisk, form: str) -> None:
    copied(store, form)
    fresh = FreshCopies(store.layout, lambda: None).of(JANUARY)
    store.keep((day("AAPL", "2024-01-03"), [bar("2024-01-03T15:00:00Z", 7.0)]))
    copied(store, form)

    assert fresh is not None
    assert fresh.opened() is None


@FORMS
def test_a_tree_that_was_copied_without_its_times_gets_them_back(store: StoreOnDisk, form: str) -> None:
    path = copied(store, form)
    os.utime(path, ns=(1, 1))

    assert store.refresh("AAPL", MINUTES) == AggregationReport(0, 1, copies_unchanged=1)
    assert FreshCopies(store.layout, lambda: None).of(JANUARY) is not None


@FORMS
def test_aggregates_are_made_of_a_fresh_copy(store: StoreOnDisk, form: str) -> None:
    copied(store, form)
    for path in store.layout.data.rglob("day=*.parquet"):
        with_bytes(path, bytes(path.stat().st_size))

    assert store.refresh("AAPL", [Timeframe.MINUTE_5]) == AggregationReport(1, 0)
    assert len(store.rows(store.aggregate_path("AAPL", Timeframe.MINUTE_5, "2024-01"))) == 3


@FORMS
def test_aggregates_are_not_made_of_a_copy_with_flipped_bits(store: StoreOnDisk, form: str) -> None:
    expected = StoreOnDisk(store.root.with_name("expected"))
    for date in ("2024-01-02", "2024-01-03", "2024-01-31"):
        expected.keep((day("AAPL", date), [bar(f"{date}T15:0{minute}:00Z", 100.0 + minute) for minute in range(3)]))
    expected.refresh("AAPL", [Timeframe.MINUTE_5])
    path = copied(store, form)
    content = path.read_bytes()

    for place in range(0, len(content), 97):
        with_bytes(path, content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        made = store.aggregate_path("AAPL", Timeframe.MINUTE_5, "2024-01")
        made.unlink(missing_ok=True)
        store.refresh("AAPL", [Timeframe.MINUTE_5])
        rows = StoreOnDisk.rows(store, made)
        assert rows == expected.rows(expected.aggregate_path("AAPL", Timeframe.MINUTE_5, "2024-01"))


@FORMS
def test_a_copy_that_is_cut_anywhere_is_refused(store: StoreOnDisk, form: str) -> None:
    path = copied(store, form)
    content = path.read_bytes()

    for length in range(0, len(content), 61):
        with_bytes(path, content[:length])
        with pytest.raises(PartitionUnreadableError):
            ReadCopy.open(str(path)).intact_bars()  # type: ignore[union-attr]  # it raises before


@FORMS
def test_days_are_cut_out_by_their_numbers_of_bars(tmp_path: Path, form: str) -> None:
    bars = bar_table([bar(f"2024-01-02T15:0{minute}:00Z", 1.0 + minute) for minute in range(6)])
    metadata = {
        "marketpipe.symbol": "AAPL",
        "marketpipe.period": "2024-01",
        "marketpipe.source.2024-01": "02=a 03=b 05=c",
    }
    path = tmp_path / f"copy.{form}"
    path.write_bytes(encode_copy(bars, {2: 1, 3: 3, 5: 2}, metadata, form))
    copy = ReadCopy.open(str(path))

    assert copy is not None
    assert copy.is_of(JANUARY)
    for days, rows in (
        (range(2, 3), [0]),
        (range(3, 5), [1, 2, 3]),
        (range(2, 4), [0, 1, 2, 3]),
        (range(5, 6), [4, 5]),
        (range(4, 5), []),
        (range(2, 6), range(6)),
    ):
        assert copy.bars(BAR_SCHEMA, days).equals(bars.take(pa.array(list(rows), pa.int64())))


@FORMS
def test_a_copy_with_nulls_keeps_them(tmp_path: Path, form: str) -> None:
    bars = bar_table([bar("2024-01-02T15:00:00Z", 1.0), bar("2024-01-02T15:01:00Z", 2.0)])
    nothing = pa.nulls(2, pa.float64())
    bars = bars.set_column(bars.schema.get_field_index("vwap"), "vwap", nothing)
    (tmp_path / f"c.{form}").write_bytes(encode_copy(bars, {2: 2}, {}, form))
    copy = ReadCopy.open(str(tmp_path / f"c.{form}"))

    assert copy is not None
    assert copy.intact_bars().equals(bars)


def test_a_mapped_copy_keeps_no_file_open(store: StoreOnDisk) -> None:
    path = copied(store, "arrow")
    before = len(os.listdir("/proc/self/fd"))
    tables = [copy.bars() for _ in range(20) if (copy := ReadCopy.open(str(path)))]
    del copy

    assert len(tables) == 20
    assert len(os.listdir("/proc/self/fd")) <= before + 1
