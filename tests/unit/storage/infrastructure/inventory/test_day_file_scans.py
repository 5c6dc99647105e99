from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans, RangeScan
from marketpipe.storage.infrastructure.store_layout import scan_day_files
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
FIRST, LAST = TradingDate.parse("2024-01-01"), TradingDate.parse("2024-02-29")


def keep(store: StoreOnDisk, date: str, symbol: str = "AAPL", price: float = 1.0) -> None:
    store.keep((day(symbol, date), [bar(f"{date}T15:00:00Z", price)]))


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path)
    for date in ("2024-01-04", "2024-01-05", "2024-02-01"):
        keep(store, date)
    return store


def january(store: StoreOnDisk) -> Path:
    return store.layout.data / "symbol=AAPL" / "year=2024" / "month=01"


def _later(folder: Path) -> None:
    found = (folder / "day=05.parquet").stat()
    os.utime(folder / "day=05.parquet", ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def _longer(folder: Path) -> None:
    path = folder / "day=05.parquet"
    modified = path.stat().st_mtime_ns
    with path.open("ab") as file:
        file.write(b"x")
    os.utime(path, ns=(modified, modified))


def _one_more(folder: Path) -> None:
    (folder / "day=08.parquet").write_bytes(b"")


def _one_less(folder: Path) -> None:
    (folder / "day=05.parquet").unlink()


def _no_file(folder: Path) -> None:
    (folder / "day=09.parquet").mkdir()


def _a_link_to_nowhere(folder: Path) -> None:
    (folder / "day=05.parquet").unlink()
    (folder / "day=05.parquet").symlink_to("nowhere")


def _a_name_that_is_no_text(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/day=\xff.parquet")).write_bytes(b"")


def _another_folder(folder: Path) -> None:
    folder.rename(folder.with_name("other"))
    folder.mkdir()


def _no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("other"))


def _a_link(folder: Path) -> None:
    folder.rename(folder.with_name("other"))
    folder.symlink_to("other")


CHANGES = [
    _later,
    _longer,
    _one_more,
    _one_less,
    _no_file,
    _a_name_that_is_no_text,
    _another_folder,
    _no_folder,
    _a_link,
]


def test_a_month_that_is_as_before_is_the_same_scan(store: StoreOnDisk) -> None:
    scans, folder = DayFileScans(), str(january(store))

    assert scans.of(folder) is scans.of(folder)
    assert scans.of(folder).day_files == scan_day_files(folder)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen_and_scanned_as_ever(store: StoreOnDisk, change: Callable[[Path], None]) -> None:
    scans, folder = DayFileScans(), january(store)
    before = scans.of(str(folder))
    change(folder)
    after = scans.of(str(folder))

    assert after.number != before.number
    assert list(after.day_files) == scan_day_files(folder)


def test_a_link_to_nowhere_in_the_place_of_a_day_is_seen_as_no_file(store: StoreOnDisk) -> None:
    scans, folder = DayFileScans(), january(store)
    before = scans.of(str(folder))
    _a_link_to_nowhere(folder)

    assert scans.of(str(folder)).number != before.number
    assert list(scans.of(str(folder)).day_files) == scan_day_files(folder)[:1]


def test_a_compacted_month_has_the_days_of_its_month_file(store: StoreOnDisk) -> None:
    scans, folder = DayFileScans(), january(store)
    before = scans.of(str(folder))
    store.compact("AAPL", "2024-01")
    after = scans.of(str(folder))

    assert after.number != before.number
    assert list(after.day_files) == scan_day_files(folder)
    assert len(after.day_files) == 2
    assert scans.of(str(folder)) is after


def test_a_damaged_month_file_is_an_error_for_the_fingerprint_alone(store: StoreOnDisk) -> None:
    store.compact("AAPL", "2024-01")
    (file,) = january(store).iterdir()
    os.truncate(file, file.stat().st_size - 5)
    scan = RangeScan(DayFileScans(), store.layout, [AAPL], FIRST, LAST)

    assert scan.readable_days(str(january(store))) == ([], True)
    with pytest.raises(StorageError, match="month=01"):
        scan.fingerprint(MonthPartition(AAPL, 2024, 1))


def test_a_folder_that_may_not_be_listed_is_an_error(store: StoreOnDisk) -> None:
    folder = january(store).with_name("month=03")
    folder.symlink_to(folder)  # is refused even to root
    long = folder.with_name("month=" + "0" * 300 + "03")

    assert DayFileScans().of(str(folder)).day_files == []
    with pytest.raises(StorageError):
        DayFileScans().of(str(long))


def test_no_more_months_are_kept_than_allowed(store: StoreOnDisk) -> None:
    scans, folders = DayFileScans(most=1), [january(store), january(store).with_name("month=02")]
    first, second = (scans.of(str(folder)) for folder in folders)

    assert scans.of(str(folders[1])) is second
    assert scans.of(str(folders[0])) is not first


def test_a_range_is_scanned_once_for_all_questions(store: StoreOnDisk) -> None:
    scan = RangeScan(DayFileScans(), store.layout, [AAPL, MSFT], FIRST, LAST)
    before = scan.version(AAPL), scan.readable_days(str(january(store)))
    keep(store, "2024-01-08")

    assert (scan.version(AAPL), scan.readable_days(str(january(store)))) == before
    assert scan.version(MSFT) == ()


def test_a_later_scan_has_the_same_version_only_if_no_file_has_changed(store: StoreOnDisk) -> None:
    scans = DayFileScans()
    first, second, third = (RangeScan(scans, store.layout, [AAPL], FIRST, LAST) for _ in range(3))
    before = first.version(AAPL)
    assert second.version(AAPL) == before
    keep(store, "2024-01-05", price=7.0)

    assert third.version(AAPL) != before


def test_months_without_a_folder_are_the_same_in_every_scan_of_a_range(store: StoreOnDisk) -> None:
    scans, end = DayFileScans(), TradingDate.parse("2024-12-31")
    before = RangeScan(scans, store.layout, [AAPL], FIRST, end).version(AAPL)
    assert RangeScan(scans, store.layout, [AAPL], FIRST, end).version(AAPL) == before
    keep(store, "2024-12-30")

    assert RangeScan(scans, store.layout, [AAPL], FIRST, end).version(AAPL) != before


def test_a_damaged_month_is_scanned_again_although_its_files_look_the_same(store: StoreOnDisk) -> None:
    store.compact("AAPL", "2024-01")
    (file,) = january(store).iterdir()
    intact, found, scans = file.read_bytes(), file.stat(), DayFileScans()
    _replace_within(file, intact[:-40] + b"x" * 40)
    assert scans.of(str(january(store))).is_damaged
    _replace_within(file, intact)

    assert not scans.of(str(january(store))).is_damaged
    assert file.stat().st_size == found.st_size


def test_a_month_file_that_rots_under_its_size_and_time_is_seen(store: StoreOnDisk) -> None:
    store.compact("AAPL", "2024-01")
    (file,) = january(store).iterdir()
    scans = DayFileScans()
    assert not scans.of(str(january(store))).is_damaged
    _replace_within(file, file.read_bytes()[:-40] + b"x" * 40)

    assert scans.of(str(january(store))).is_damaged


def _replace_within(file: Path, content: bytes) -> None:
    """Write into a file without a change of its inode, size and modification time."""
    modified = file.stat().st_mtime_ns
    file.write_bytes(content)
    os.utime(file, ns=(modified, modified))
