"""Former versions and their moments. Crashes: test_partition_manager_after_a_crash.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradedMinutes
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.infrastructure.day_versions import find_stored, moment_of
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
from marketpipe.storage.infrastructure.partition_manager import PartitionManager
from marketpipe.testing import FakeClock
from tests.support.bar_stores import at
from tests.support.builders import CALENDAR, columnar, day
from tests.support.store_on_disk import IDENTITY, NOTHING, StoreOnDisk, tree
from tests.support.system_calls import SystemCalls

AAPL = day("AAPL", "2024-01-02")
DAY_FILE = "data/symbol=AAPL/year=2024/month=01/day=02.parquet"
QUARANTINE_FILE = "quarantine/symbol=AAPL/year=2024/month=01/day=02.parquet"


def test_a_file_has_its_known_since_as_modification_time(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path, clock=FakeClock("2024-01-03T21:30:00.123456Z"))

    (result,) = store.keep((AAPL, [at(0)]))

    assert result.known_since == Timestamp.parse("2024-01-03T21:30:00.123456Z")
    assert (tmp_path / DAY_FILE).stat().st_mtime_ns == 1_704_317_400_123_456_000


def test_an_answer_that_changes_nothing_touches_no_file(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    (first,) = store.keep((AAPL, [at(0), at(1)]))
    before = _look(tmp_path / DAY_FILE)

    store.clock.advance(60)
    (again,) = store.keep((AAPL, [at(0), at(1)]))
    (part_of_it,) = store.keep((AAPL, [at(1)]), whole=False)

    assert (again, part_of_it) == (first, evolve(first, final=False))
    assert _look(tmp_path / DAY_FILE) == before
    assert sorted(tree(tmp_path)) == [DAY_FILE]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be seen on this system")
def test_an_answer_that_changes_nothing_is_durable_all_the_same(tmp_path: Path) -> None:
    """Whoever renamed the file may have died before syncing the folder."""
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))

    with SystemCalls(tmp_path) as seen:
        store.keep((AAPL, [at(0)]))

    assert [(call.name, call.target) for call in seen.calls if call.name in ("fsync", "replace")] == [
        ("fsync", str(Path(DAY_FILE).parent))
    ]


def _look(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize("has_index", [True, False])
def test_since_when_an_unrecorded_file_is_known_is_in_the_index_or_else_its_time(
    tmp_path: Path, has_index: bool
) -> None:
    store, touched = StoreOnDisk(tmp_path), 1_700_000_000_123_456
    (first,) = store.keep((AAPL, [at(0)]))
    os.utime(tmp_path / DAY_FILE, ns=(0, touched * 1000 + 789))
    if not has_index:
        store.layout.version_index(AAPL.symbol).unlink()

    (result,) = store.keep((AAPL, [at(0)]))

    assert result.known_since == (first.known_since if has_index else Timestamp.from_epoch_micros(touched))


def test_what_is_replaced_stays_as_a_revision(tmp_path: Path) -> None:
    store, contents = StoreOnDisk(tmp_path, clock=FakeClock("2024-01-03T21:30:00.123456Z")), []
    for price in (100.0, 101.0, 102.0):
        store.keep((AAPL, [at(0, price)]))
        contents.append((tmp_path / DAY_FILE).read_bytes())
        store.clock.advance(3600)

    below = "revisions/symbol=AAPL/year=2024/month=01"
    assert tree(tmp_path) == {
        DAY_FILE: contents[2],
        f"{below}/day=02.20240103T213000.123456Z.parquet": contents[0],
        f"{below}/day=02.20240103T223000.123456Z.parquet": contents[1],
    }


def test_a_revision_costs_no_second_copy(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    before = (tmp_path / DAY_FILE).stat()

    store.keep((AAPL, [at(1)]))

    (revision,) = (tmp_path / "revisions").rglob("*.parquet")
    assert (revision.stat().st_ino, revision.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_moments_ascend_where_the_clock_stands_still_or_goes_back(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    moments = []
    for price, step in ((100.0, 0), (101.0, 0), (102.0, -3600), (103.0, 0), (104.0, 7200)):
        store.clock.advance(step)
        (result,) = store.keep((AAPL, [at(0, price)]))
        moments.append(result.known_since)

    start = Timestamp.parse("2025-06-02T12:00:00Z")
    assert moments == [start.plus(timedelta(microseconds=passed)) for passed in (0, 1, 2, 3, 3_600_000_000)]
    assert len(list((tmp_path / "revisions").rglob("*.parquet"))) == 4


def test_what_cannot_be_read_is_no_version(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    (tmp_path / DAY_FILE).write_bytes(b"not Parquet")
    os.utime(tmp_path / DAY_FILE, ns=(0, 0))
    store.clock.advance(60)

    (result,) = store.keep((AAPL, [at(1)]))

    assert result.known_since == store.clock.now()
    assert sorted(tree(tmp_path)) == [DAY_FILE]


def test_a_quarantine_has_no_revisions(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    for price in (-1.0, -2.0):
        store.keep((AAPL, []), rejected=columnar((AAPL, [at(0, price)])))

    assert sorted(tree(tmp_path)) == [QUARANTINE_FILE]


def test_the_minutes_returned_are_those_of_all_that_is_stored(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(-330), at(0)]), whole=False)

    (result,) = store.keep((AAPL, [at(1), at(629)]), whole=False)

    assert result.minutes == TradedMinutes.of(1 | 1 << 330 | 1 << 331 | 1 << 959)


def test_quarantined_bars_of_another_dataset_are_not_replaced(tmp_path: Path) -> None:
    msft = day("MSFT", "2024-01-02")
    store, other = StoreOnDisk(tmp_path / "a"), StoreOnDisk(tmp_path / "b", evolve(IDENTITY, feed="iex"))
    store.keep((AAPL, [at(0)]), rejected=columnar((AAPL, [at(1)])))
    other.keep((msft, []), rejected=columnar((msft, [at(0)])))
    shutil.copytree(other.layout.quarantine, store.layout.quarantine, dirs_exist_ok=True)
    before = tree(tmp_path)

    with pytest.raises(StorageError, match="this store is of provider alpaca, feed sip, adjustment raw: move it away"):
        store.keep((msft, []), rejected=columnar((msft, [at(0)])))
    assert tree(tmp_path) == before


class FormerWriter(ParquetWriter):
    """Writes small days as versions of MarketPipe before ``SMALL_DAY`` did."""

    def encode_day(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        return self.encode(table, metadata)


def test_a_small_day_keeps_the_bytes_that_an_earlier_version_of_marketpipe_wrote(tmp_path: Path) -> None:
    store, writer = StoreOnDisk(tmp_path), FormerWriter("zstd")
    steps = store.files, store.clock, store.register, FigureCalculator(CALENDAR), lambda: store.months
    PartitionManager(store.layout, store.identity, writer, *steps).store(columnar((AAPL, [at(0)])), NOTHING)
    former = store.path(AAPL).read_bytes()

    store.keep((AAPL, [at(0)]))
    assert store.path(AAPL).read_bytes() == former

    store.keep((AAPL, [at(0, 200.0)]))
    assert ParquetWriter("zstd").has_two_forms(pq.read_table(store.path(AAPL), partitioning=None))
    assert store.path(AAPL).read_bytes() != former


def test_a_revision_that_cannot_be_read_is_replaced_by_the_version_of_its_moment(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    first, since = store.path(AAPL).read_bytes(), moment_of(store.path(AAPL).stat().st_mtime_ns)
    revision = store.layout.revision(Revision(AAPL, since))
    revision.parent.mkdir(parents=True)
    revision.write_bytes(b"torn")
    store.clock.advance(60)

    store.keep((AAPL, [at(0, 200.0)]))

    assert revision.read_bytes() == first


def test_a_day_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    assert find_stored(tmp_path / "day", dict) is None
    (tmp_path / "day").mkdir()
    found = find_stored(tmp_path / "day", dict)
    assert found is not None
    assert "cannot be read" in str(found.damage)
