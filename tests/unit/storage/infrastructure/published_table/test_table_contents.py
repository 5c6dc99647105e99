from __future__ import annotations

from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS
from marketpipe.storage.domain.published_table import TableContents
from marketpipe.storage.infrastructure.published_table.table_contents import LiveTable
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.object_disks import NOW, ROOM, ObjectsInMemory
from tests.support.store_on_disk import StoreOnDisk

SYMBOLS = ("AAPL", "MSFT")
DATES = ("2024-01-02", "2024-01-03")
MSFT = "data/symbol=MSFT/year=2024/month=01"


class Store:
    def __init__(self, **changes: Any) -> None:
        self.objects = ObjectsInMemory()
        machine = self.objects.machine()
        self.store = StoreOnDisk(Path(ROOM), machine=machine, files=self.objects.files(machine))
        for symbol in SYMBOLS:
            for date in DATES:
                self.store.keep((day(symbol, date), [at(0), at(1)]))
        names = (f"c{number}" for number in count())
        place = self.objects.catalog, self.objects.store, lambda: next(names), lambda: NOW, REAL_THREADS.executor
        self.table = LiveTable(*place, **changes)

    def rows(self, contents: TableContents) -> list[tuple[str, str]]:
        """Return the symbol and the date of each row of the table."""
        tables = [pq.read_table(BytesIO(self.objects.store.objects[file.key])) for file in contents.files]
        found = pa.concat_tables(table.select(["symbol", "trading_date"]) for table in tables).to_pylist()
        return sorted((row["symbol"], str(row["trading_date"])) for row in found)


EACH = [(symbol, date) for symbol in SYMBOLS for date in DATES for _ in range(2)]


def test_days_are_copied_by_their_dates_and_copies_are_used_again() -> None:
    store = Store()
    contents = store.table.contents()
    assert (len(contents.files), contents.copied) == (2, tuple(file.key for file in contents.files))
    assert [file.figures.dates for file in contents.files] == [(date, date) for date in DATES]
    assert store.rows(contents) == EACH

    again = store.table.contents()
    assert (again.files, again.copied) == (contents.files, ())


def test_another_version_of_a_day_makes_another_copy_of_its_date() -> None:
    store = Store()
    first = store.table.contents()
    store.store.keep((day("MSFT", DATES[1]), [at(0), at(2)]))
    second = store.table.contents()
    assert second.files[0] == first.files[0]
    assert second.copied == (second.files[1].key,)
    named = store.objects.catalog.objects()
    assert second.files[1].key in named
    assert first.files[1].key not in named


def test_no_copy_is_larger_than_an_object_may_be() -> None:
    store = Store(object_bytes=10)
    contents = store.table.contents()
    assert len(contents.files) == 4
    assert store.rows(contents) == EACH


def test_a_month_in_both_forms_is_left_and_named() -> None:
    store = Store()
    before = store.objects.catalog.find(f"{MSFT}/day=02.parquet")
    assert before is not None
    assert store.store.compact("MSFT") is not None
    store.objects.catalog.change(CatalogChange([before]))

    contents = store.table.contents()

    assert contents.left == (f"{MSFT}: it has days in its month file and as files: run 'marketpipe compact'",)
    assert store.rows(contents) == EACH[:4]


def test_files_that_are_no_table_are_left_and_named() -> None:
    store = Store()
    store.store.files.publish({Path(f"{ROOM}/{MSFT}/day=04.parquet"): b"PAR1 no footer"})
    contents = store.table.contents()
    assert contents.left == (f"{MSFT}/day=04.parquet and 0 more: it is not a Parquet file",)
    assert store.rows(contents) == EACH
