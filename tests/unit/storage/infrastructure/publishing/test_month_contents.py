"""Days that are found in the bytes of a month file whose end is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, StoredDayFile, days_in, month_file
from marketpipe.storage.infrastructure.compacted.parquet_end import MAGIC
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
        self._folder = store.layout.month(JANUARY)
        self.days = days_in((self._folder / MONTH_FILE).read_bytes())
        self.content = b"".join(each.content for each in self.days)

    def found(self, content: bytes, recorded: Recorded | None = None) -> MonthContents:
        (self._folder / MONTH_FILE).write_bytes(content)
        known = self.recorded if recorded is None else recorded
        return contents_of(JANUARY, self._folder, {MONTH_FILE}, known, frozenset)


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
