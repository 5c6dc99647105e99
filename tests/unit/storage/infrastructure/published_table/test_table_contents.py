from __future__ import annotations

from pathlib import Path

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.live_tables import DATES, SYMBOLS, TableStore
from tests.support.object_disks import ROOM

MSFT = "data/symbol=MSFT/year=2024/month=01"
EACH = [(symbol, date) for symbol in SYMBOLS for date in DATES for _ in range(2)]


def test_days_are_copied_by_their_dates_and_copies_are_used_again() -> None:
    store = TableStore()
    contents = store.table.contents()
    assert (len(contents.files), contents.copied) == (2, tuple(file.key for file in contents.files))
    assert [file.figures.dates for file in contents.files] == [(date, date) for date in DATES]
    assert store.rows(contents) == EACH

    again = store.table.contents()
    assert (again.files, again.copied) == (contents.files, ())


def test_another_version_of_a_day_makes_another_copy_of_its_date() -> None:
    store = TableStore()
    first = store.table.contents()
    store.store.keep((day("MSFT", DATES[1]), [at(0), at(2)]))
    second = store.table.contents()
    assert second.files[0] == first.files[0]
    assert second.copied == (second.files[1].key,)
    named = store.objects.catalog.objects()
    assert second.files[1].key in named
    assert first.files[1].key not in named


def test_no_copy_is_larger_than_an_object_may_be() -> None:
    store = TableStore(object_bytes=10)
    contents = store.table.contents()
    assert len(contents.files) == 4
    assert store.rows(contents) == EACH


def test_a_month_in_both_forms_is_left_and_named() -> None:
    store = TableStore()
    before = store.objects.catalog.find(f"{MSFT}/day=02.parquet")
    assert before is not None
    assert store.store.compact("MSFT") is not None
    store.objects.catalog.change(CatalogChange([before]))

    contents = store.table.contents()

    assert contents.left == (f"{MSFT}: it has days in its month file and as files: run 'marketpipe compact'",)
    assert store.rows(contents) == EACH[:4]


def test_files_that_are_no_table_are_left_and_named() -> None:
    store = TableStore()
    store.store.files.publish({Path(f"{ROOM}/{MSFT}/day=04.parquet"): b"PAR1 no footer"})
    contents = store.table.contents()
    assert contents.left == (f"{MSFT}/day=04.parquet and 0 more: it is not a Parquet file",)
    assert store.rows(contents) == EACH
