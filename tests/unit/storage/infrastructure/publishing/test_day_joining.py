"""Day files that may not become one file, and month files whose footer is not theirs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.day_access import read_day
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, StoredDayFile
from marketpipe.storage.infrastructure.publishing.day_joining import difference, joined, problem_of
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import IDENTITY, StoreOnDisk

JANUARY = MonthPartition(Symbol("AAPL"), 2024, 1)
FIRST, SECOND = day("AAPL", "2024-01-02"), day("AAPL", "2024-01-03")


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    made = StoreOnDisk(tmp_path)
    made.keep(*((each, [at(0), at(1)]) for each in (FIRST, SECOND)))
    return made


def joined_days(store: StoreOnDisk) -> bytes:
    days = [read_day(str(store.path(each))) for each in (FIRST, SECOND)]
    return joined(JANUARY, [each for each in days if each is not None], {}, IDENTITY)


def test_day_files_of_several_row_groups_cannot_be_one(store: StoreOnDisk) -> None:
    path = store.path(SECOND)
    pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=1)

    with pytest.raises(PartitionUnreadableError, match="the files of AAPL 2024-01 cannot be one: "):
        joined_days(store)


def test_day_files_whose_bars_do_not_equal_themselves_cannot_be_one(store: StoreOnDisk) -> None:
    """Another program has written a price that is no number."""
    path = store.path(SECOND)
    bars = pq.read_table(path, partitioning=None)
    at_column = bars.column_names.index("vwap")
    nothing = pa.array([float("nan")] * len(bars), bars.schema.field("vwap").type)
    pq.write_table(bars.set_column(at_column, bars.schema.field("vwap"), nothing), path)

    with pytest.raises(PartitionUnreadableError, match="cannot be one: "):
        joined_days(store)


def test_a_file_of_a_day_that_the_month_does_not_have_has_no_date() -> None:
    february = MonthPartition(Symbol("AAPL"), 2023, 2)
    with pytest.raises(PartitionUnreadableError, match=r"day=30\.parquet is of no date of the calendar"):
        difference(february, [StoredDayFile("day=30.parquet", b"", 0)], {})


def test_a_footer_that_is_not_that_of_the_days_is_named(store: StoreOnDisk) -> None:
    store.compact("AAPL")
    content = (store.layout.month(JANUARY) / MONTH_FILE).read_bytes()
    assert problem_of(JANUARY, content) is None

    other = MonthPartition(Symbol("MSFT"), 2024, 1)
    for month, damaged in ((other, content), (JANUARY, content[:-1]), (JANUARY, b"x" + content[1:])):
        assert str(problem_of(month, damaged)).startswith("has a damaged footer")
