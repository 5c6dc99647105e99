"""The files that SQL reads minutes from: which copies are taken, and how one that changed meanwhile is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.reading.minute_files import MinuteFiles
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

JANUARY = MonthPartition(Symbol("AAPL"), 2024, 1)
FORMS = pytest.mark.parametrize("form", ["parquet", "arrow"])


def listed(root: Path, form: str) -> tuple[MinuteFiles, Path]:
    store = StoreOnDisk(root, copy_format=form)
    store.keep((day("AAPL", "2024-01-02"), [at(0, 100.0)]))
    store.refresh("AAPL", [Timeframe.MINUTE_1])
    found = MinuteFiles.found(store.layout, [JANUARY], StoredIdentity(store.layout), None, DayFileScans())
    return found, Path(store.layout.copy(JANUARY, form))


@FORMS
def test_a_copy_that_lost_its_time_after_it_was_found_fresh_is_not_taken_for_what_was_found(
    tmp_path: Path, form: str
) -> None:
    files, copy = listed(tmp_path, form)
    before = copy.stat()
    assert files.are_unchanged
    os.utime(copy, ns=(1, 1))

    assert files.fingerprints() == {str(copy): (before.st_ino, before.st_mtime_ns)}
    assert not files.are_unchanged


@FORMS
def test_a_stale_copy_is_not_taken(tmp_path: Path, form: str) -> None:
    files, copy = listed(tmp_path, form)
    os.utime(copy, ns=(1, 1))
    found = MinuteFiles.found(files.layout, [JANUARY], StoredIdentity(files.layout), None, DayFileScans())

    assert ([file.month for file in found.copies], found.others) == ([], [JANUARY])


def test_day_files_of_a_torn_copy_are_not_read_without_being_compared(tmp_path: Path) -> None:
    files, copy = listed(tmp_path, "arrow")
    found = copy.stat()
    copy.write_bytes(b"torn")
    os.utime(copy, ns=(found.st_mtime_ns, found.st_mtime_ns))

    with pytest.raises(PartitionUnreadableError, match="is torn"):
        files.opened()


def test_which_month_a_copy_is_of_is_seen_in_its_last_bytes(tmp_path: Path) -> None:
    files, path = listed(tmp_path, "parquet")
    (copy,) = files.copies
    path.write_bytes(path.read_bytes()[-2000:])  # no reader of Parquet opens it

    assert copy.opened() is None
    assert copy.names_its_place()
    assert not evolve(copy, month=MonthPartition(Symbol("AAP"), 2024, 1)).names_its_place()
    assert not evolve(copy, identity=DatasetIdentity("alpaca", "iex", "raw")).names_its_place()
