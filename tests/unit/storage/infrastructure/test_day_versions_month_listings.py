from __future__ import annotations

from pathlib import Path

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.infrastructure.day_versions import MonthListings
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk
from tests.support.system_calls import SystemCalls

DAYS = [day(symbol, f"2024-01-{number:02d}") for symbol in ("AAPL", "MSFT") for number in (2, 3, 4, 5, 8)]
AAPL = DAYS[0]


def test_a_month_is_listed_once_for_all_of_its_days(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((DAYS[0], [at(0)]), (DAYS[5], [at(0)]))
    months = MonthListings(store.layout)

    with SystemCalls(tmp_path) as seen:
        without = [months.has_none(day, store.layout.bars(day).name) for day in DAYS]
        revisions = {months.newest_revision(day) for day in DAYS}

    assert without == [False, True, True, True, True] * 2
    assert revisions == {None}
    assert seen.names() == ["listdir"] * 4  # of bars and of revisions, for each symbol


def test_the_newest_revision_is_that_of_the_layout(tmp_path: Path) -> None:
    layout = StoreOnDisk(tmp_path).layout
    moments = [Timestamp.parse(f"2024-02-0{number}T00:00:00Z") for number in (1, 3, 2)]
    for moment in moments:
        path = layout.revision(Revision(AAPL, moment))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    found = [MonthListings(layout).newest_revision(day) for day in DAYS]

    assert found == [layout.newest_revision(day) for day in DAYS] == [moments[1], *[None] * 9]


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    layout = StoreOnDisk(tmp_path).layout
    folder = layout.bars(AAPL).parent
    folder.parent.mkdir(parents=True)
    folder.touch()  # a file in the place of the folder

    assert not MonthListings(layout).has_none(AAPL, "day=02.parquet")
    assert MonthListings(layout).has_none(DAYS[5], "day=02.parquet")
