"""A store of objects in memory, and the table that is made of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.published_table import TableContents
from marketpipe.storage.infrastructure.objects.change_notes import KNOWN, with_note
from marketpipe.storage.infrastructure.objects.month_objects import MonthObjects
from marketpipe.storage.infrastructure.published_table.table_contents import LiveTable
from marketpipe.storage.infrastructure.published_table.table_copies import TableCopies
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.object_disks import NOW, ROOM, ObjectsInMemory
from tests.support.store_on_disk import IDENTITY, StoreOnDisk, recorded_as_stored

T = TypeVar("T")
SYMBOLS = ("AAPL", "MSFT")
DATES = ("2024-01-02", "2024-01-03")


class Noting(InMemoryFileCatalog):
    """Leaves a note of each change, as that of a store does. ``rows`` counts those that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self._names = 0, count()

    def change(self, change: CatalogChange) -> None:
        super().change(with_note(change, lambda: f"n{next(self._names)}"))

    def find(self, path: str) -> PlacedFile | None:
        found = super().find(path)
        self.rows += found is not None
        return found

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        return self._counted(super().listed(folder))

    def in_each(self, folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        return self._counted(super().in_each(folders, name))

    def folders(self, folder: str) -> Sequence[str]:
        return self._counted(super().folders(folder))

    def below(self, folder: str) -> Sequence[PlacedFile]:
        return self._counted(super().below(folder))

    def _counted(self, found: Sequence[T]) -> Sequence[T]:
        self.rows += len(found)
        return found


class TableStore:
    """Two symbols on two dates, of two bars each, and more as they are corrected."""

    def __init__(self, **changes: Any) -> None:
        self.catalog = Noting()
        self.objects = ObjectsInMemory(self.catalog)
        machine = self.objects.machine()
        self.store = StoreOnDisk(Path(ROOM), machine=machine, files=self.objects.files(machine))
        for symbol in SYMBOLS:
            for date in DATES:
                self.store.keep((day(symbol, date), [at(0), at(1)]))
        names = (f"c{number}" for number in count())
        place = self.objects.catalog, self.objects.store, lambda: next(names), lambda: NOW, REAL_THREADS.executor
        self.table = LiveTable(TableCopies(*place), **changes)

    def correct(self, symbol: str, date: str, *minutes: int) -> None:
        self.store.keep((day(symbol, date), [at(minute) for minute in minutes]))

    def compact(self, symbols: Sequence[str]) -> str:
        """Make one object of a month of these symbols; return its key."""
        machine = self.objects.machine()
        months = [MonthPartition(Symbol(symbol), 2024, 1) for symbol in symbols]
        recorded = {month: recorded_as_stored(self.store.layout, month) for month in months}
        place = self.catalog, self.objects.store, machine.disk, self.store.months
        objects = MonthObjects(*place, lambda: "month", lambda: NOW)  # type: ignore[arg-type]
        done = [*objects.compact(months, recorded.__getitem__, IDENTITY, lambda: None, dry_run=False)]
        assert len(done) == len(symbols)
        return "objects/delta/month.parquet"

    def read_again(self) -> TableContents:
        """Return what the table has if nothing is known of it."""
        known = self.catalog.below("tables")
        self.catalog.change(CatalogChange(removed=[file.path for file in known if file.path.startswith(KNOWN)]))
        return self.table.contents()

    def rows(self, contents: TableContents) -> list[tuple[str, str]]:
        """Return the symbol and the date of each row of the table."""
        tables = [pq.read_table(BytesIO(self.objects.store.objects[file.key])) for file in contents.files]
        found = pa.concat_tables(table.select(["symbol", "trading_date"]) for table in tables).to_pylist()
        return sorted((row["symbol"], str(row["trading_date"])) for row in found)
