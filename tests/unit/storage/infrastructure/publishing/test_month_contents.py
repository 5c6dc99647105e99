"""Days that are found in the bytes of a month file whose end is damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, StoredDayFile, days_in, month_file
from marketpipe.storage.infrastructure.compacted.parquet_end import MAGIC
from marketpipe.storage.infrastructure.day_versions import NO_MARK
from marketpipe.storage.infrastructure.parquet_files import sha256
from marketpipe.storage.infrastructure.publishing.month_contents import MonthContents, Recorded, contents_of
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk, recorded_as_stored

JANUARY = MonthPartition(Symbol("AAPL"), 2024, 1)
DATES = ["2024-01-02", "2024-01-03", "2024-01-04"]
NAMES = [f"day={date[8:]}.parquet" for date in DATES]


class DamagedMonth:
    """A month file of three days without its footer, whose bytes can be changed."""

    def __init__(self, root: Path) -> None:
        store = StoreOnDisk(root)
        store.keep(*((day("AAPL", date), [at(0), at(1, 100.0 + n)]) for n, date in enumerate(DATES)))
        self.recorded: Recorded = recorded_as_stored(store.layout, JANUARY)
        store.compact("AAPL")
        self.folder = store.layout.month(JANUARY)
        self.days = days_in((self.folder / MONTH_FILE).read_bytes())
        self.content = b"".join(each.content for each in self.days)

    def found(self, content: bytes, recorded: Recorded | None = None) -> MonthContents:
        (self.folder / MONTH_FILE).write_bytes(content)
        known = self.recorded if recorded is None else recorded
        return contents_of(JANUARY, self.folder, {MONTH_FILE}, known, frozenset)


@pytest.fixture
def month(tmp_path: Path) -> DamagedMonth:
    return DamagedMonth(tmp_path)


def names(contents: MonthContents) -> list[str]:
    return [each.name for each in contents.from_month]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_byte_that_changed_costs_the_day_that_has_it_and_no_other(
    month: DamagedMonth, number: int, at_the_end: bool
) -> None:
    """The first and the last bytes of a day are where it is found, and where the next one is."""
    content = bytearray(month.content)
    begin = sum(len(each.content) for each in month.days[:number])
    content[begin + len(month.days[number].content) - 1 if at_the_end else begin] ^= 1

    found = month.found(bytes(content))

    assert names(found) == [name for name in NAMES if name != NAMES[number]]
    assert [str(date) for date in found.lost] == [DATES[number]]
    assert (found.is_damaged, found.keeps_month_file) == (True, True)


def test_what_is_inserted_or_missing_between_days_is_passed_over(month: DamagedMonth) -> None:
    first, second, third = (each.content for each in month.days)

    assert month.found(b"x" * 7 + first + MAGIC + second + third + MAGIC).from_month == month.days
    assert names(month.found(third + first)) == [NAMES[0], NAMES[2]]


def test_without_records_days_are_found_by_what_they_say_of_themselves(month: DamagedMonth) -> None:
    found = month.found(month.content + b"a damaged footer", {})

    assert [(each.name, each.content) for each in found.from_month] == [(d.name, d.content) for d in month.days]
    assert (found.lost, found.keeps_month_file) == ([], True)


def test_a_day_with_other_bytes_than_the_recorded_ones_is_not_kept(month: DamagedMonth) -> None:
    changed = {date: evolve(version, sha256="0" * 64) for date, version in month.recorded.items()}

    found = month.found(month.content, changed)

    assert names(found) == []
    assert [str(date) for date in found.lost] == DATES


def beside(month: DamagedMonth, content: bytes, recorded: Recorded) -> MonthContents:
    """Return what a whole month has whose first day is a file too, with this content."""
    (month.folder / NAMES[0]).write_bytes(content)
    return contents_of(JANUARY, month.folder, {MONTH_FILE, NAMES[0]}, recorded, frozenset)


def test_of_two_versions_of_a_day_the_recorded_one_counts(tmp_path: Path) -> None:
    month = DamagedMonth(tmp_path)
    date, *_ = month.recorded
    of_file = {**month.recorded, date: evolve(month.recorded[date], sha256=sha256(b"other"))}
    same = beside(month, month.days[0].content, month.recorded)
    in_month, in_file = beside(month, b"other", month.recorded), beside(month, b"other", of_file)

    assert (names(same), same.set_aside, same.keeps_month_file) == (NAMES[1:], [], False)
    assert (names(in_month), [each.name for each in in_month.set_aside], in_month.keeps_month_file) == (
        *(NAMES, NAMES[:1], False),
    )
    assert (names(in_file), in_file.set_aside, in_file.keeps_month_file) == (NAMES[1:], [], True)
    with pytest.raises(PartitionUnreadableError, match=f"{NAMES[0]} "):
        beside(month, b"neither", {})


def test_a_folder_in_the_place_of_a_day_file_stays_where_it_is(tmp_path: Path) -> None:
    month = DamagedMonth(tmp_path)
    (month.folder / "day=05.parquet").mkdir()

    found = contents_of(JANUARY, month.folder, {MONTH_FILE, "day=05.parquet"}, month.recorded, frozenset)

    assert (names(found), found.set_aside) == (NAMES, [])


class Unreadable(RealDisk):
    """A disk whose files cannot be opened for a reason."""

    def __init__(self, code: int) -> None:
        self.code = code

    __slots__ = ("code",)

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        raise OSError(self.code, os.strerror(self.code), path)


def test_of_a_month_file_that_cannot_be_read_every_day_is_lost(tmp_path: Path) -> None:
    month = DamagedMonth(tmp_path)
    broken = contents_of(JANUARY, month.folder, {MONTH_FILE}, month.recorded, frozenset, Unreadable(errno.EIO))
    with pytest.raises(StorageError, match="Too many open files"):
        contents_of(JANUARY, month.folder, {MONTH_FILE}, month.recorded, frozenset, Unreadable(errno.EMFILE))
    (month.folder / MONTH_FILE).unlink()
    (month.folder / MONTH_FILE).mkdir()
    folder = contents_of(JANUARY, month.folder, {MONTH_FILE}, month.recorded, frozenset)
    (month.folder / MONTH_FILE).rmdir()
    (month.folder / MONTH_FILE).symlink_to("nowhere")
    link = contents_of(JANUARY, month.folder, {MONTH_FILE}, month.recorded, frozenset)

    for found in (broken, folder, link):
        assert (found.file, names(found), [str(date) for date in found.lost]) == (None, [], DATES)


def test_a_day_that_an_early_version_recorded_without_its_size_is_found_by_what_it_says_of_itself(
    month: DamagedMonth,
) -> None:
    early = {date: evolve(version, mark=NO_MARK) for date, version in month.recorded.items()}

    assert names(month.found(month.content, early)) == NAMES


def test_the_days_of_another_symbol_are_not_taken_for_those_of_the_month(month: DamagedMonth, tmp_path: Path) -> None:
    other = StoreOnDisk(tmp_path / "other")
    other.keep((day("MSFT", "2024-01-05"), [at(0)]))
    foreign = other.path(day("MSFT", "2024-01-05")).read_bytes()

    assert names(month.found(foreign + month.content, {})) == NAMES


class OneUnreadable(Unreadable):
    """A disk of which one file cannot be opened for a reason."""

    __slots__ = ()

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith(NAMES[0]):
            return super().open(path, flags, mode, dir_fd=dir_fd)
        return RealDisk.open(path, flags, mode, dir_fd=dir_fd)


def test_a_day_file_that_cannot_be_read_gives_way_to_the_day_in_the_month_file_and_to_nothing_else(
    tmp_path: Path,
) -> None:
    month, alone = DamagedMonth(tmp_path / "one"), DamagedMonth(tmp_path / "other")
    for each in (month, alone):
        (each.folder / NAMES[0]).write_bytes(b"perhaps the latest version")
    (alone.folder / MONTH_FILE).write_bytes(b"".join(each.content for each in alone.days[1:]))
    (month.folder / "day=05.parquet").symlink_to("nowhere")
    there, broken = {MONTH_FILE, NAMES[0], "day=05.parquet"}, OneUnreadable(errno.EIO)

    inside = contents_of(JANUARY, month.folder, there, month.recorded, frozenset, broken)
    outside = contents_of(JANUARY, alone.folder, there, alone.recorded, frozenset, broken)

    assert (names(inside), inside.unreadable) == (NAMES, [NAMES[0]])
    assert (names(outside), outside.unreadable) == (NAMES[1:], [])
    with pytest.raises(StorageError, match="Too many open files"):
        contents_of(JANUARY, month.folder, there, month.recorded, frozenset, OneUnreadable(errno.EMFILE))


def test_a_day_that_the_calendar_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    store, february = StoreOnDisk(tmp_path), MonthPartition(Symbol("AAPL"), 2024, 2)
    store.keep(*((day("AAPL", f"2024-02-{number}"), [at(0)]) for number in (27, 28)))
    first, second = (path.read_bytes() for path in store.layout.day_files(february))
    forged, folder = second.replace(b"2024-02-28", b"2024-02-31"), store.layout.month(february)
    days = [StoredDayFile("day=27.parquet", first, 0), StoredDayFile("day=31.parquet", forged, 0)]
    (folder / MONTH_FILE).write_bytes(month_file(days, {}))
    (folder / "day=31.parquet").write_bytes(b"another")

    with pytest.raises(StorageError, match=r"day=31\.parquet has other bytes"):
        contents_of(february, folder, {MONTH_FILE, "day=31.parquet"}, {}, frozenset)
