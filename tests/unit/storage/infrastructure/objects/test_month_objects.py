from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StoreBusyError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.compaction import CompactedMonth, Condition
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.bucket_upkeep.recovered_catalog import RecoveredCatalog
from marketpipe.storage.infrastructure.objects.month_objects import FIGURES, MonthObjects
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.object_disks import NOW, ROOM, ObjectsInMemory
from tests.support.store_on_disk import IDENTITY, StoreOnDisk, recorded_as_stored

SYMBOLS = ("AAPL", "BRK.B", "MSFT")
MONTHS = [MonthPartition(Symbol(symbol), 2024, month) for symbol in SYMBOLS for month in (1, 2)]


class Store:
    def __init__(self, object_bytes: int = 1_000_000) -> None:
        self.objects, self.is_open = ObjectsInMemory(), False
        machine = self.objects.machine()
        self.store = StoreOnDisk(Path(ROOM), machine=machine, files=self.objects.files(machine))
        for symbol in SYMBOLS:
            for date in ("2024-01-02", "2024-01-03", "2024-02-01", "2024-02-02"):
                self.store.keep((day(symbol, date), [at(0), at(1)]))
        names = (f"m{number}" for number in count())
        at_place = self.objects.catalog, self.objects.store, machine.disk, self.store.months
        self.months = MonthObjects(
            *at_place,
            lambda: next(names),
            lambda: NOW,
            self.together,
            object_bytes=object_bytes,  # type: ignore[arg-type]
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        self.is_open = True
        yield
        self.is_open = False

    def compact(self, months: list[MonthPartition], confirm: Callable[[], None] = lambda: None) -> list[CompactedMonth]:
        recorded = {month: recorded_as_stored(self.store.layout, month) for month in months}
        return [*self.months.compact(months, recorded.__getitem__, IDENTITY, confirm, dry_run=False)]

    def month_objects(self) -> list[str]:
        return [key for key in self.objects.store.objects if key.startswith("objects/delta/")]


def test_batches_are_in_the_order_of_the_calendar_and_as_large_as_an_object_may_be() -> None:
    store = Store()
    assert [[(str(m.symbol), m.month) for m in batch] for batch in store.months.batches(MONTHS)] == [
        [(symbol, month) for symbol in SYMBOLS] for month in (1, 2)
    ]
    size = sum(file.size for file in store.objects.catalog.below(f"data/{MONTHS[0].folder}"))
    small = Store(object_bytes=2 * size + 10)
    assert [len(batch) for batch in small.months.batches(MONTHS)] == [2, 1, 2, 1]


def test_the_catalog_is_changed_once_and_only_after_the_lease_was_confirmed() -> None:
    store, confirmed = Store(), list[bool]()
    changes = store.objects.catalog.calls["change"]

    done = store.compact(MONTHS[::2], lambda: confirmed.append(store.is_open))

    assert [each.condition for each in done] == [Condition.CHANGED] * 3
    assert confirmed == [True]
    assert store.objects.catalog.calls["change"] == changes + 1
    assert {file.object for month in MONTHS[::2] for file in store.objects.catalog.below(f"data/{month.folder}")} == {
        "objects/delta/m0.parquet"
    }
    assert store.objects.catalog.find(f"{FIGURES}objects/delta/m0.parquet") is not None


def test_the_figures_of_a_month_object_come_again() -> None:
    """A table may have the object as it is only if they are known."""
    store = Store()
    store.compact(MONTHS[::2])
    found, catalog = RecoveredCatalog(store.objects.store), InMemoryFileCatalog()
    found.read(lambda workers, _: ThreadPoolExecutor(workers))
    found.write(catalog)

    known = store.objects.catalog.below(FIGURES.rstrip("/"))
    assert len(known) == 1
    assert catalog.below(FIGURES.rstrip("/")) == known


def test_a_lost_lease_changes_nothing() -> None:
    store = Store()
    before = store.objects.catalog.below("")

    def lost() -> None:
        raise StoreBusyError("the lease ran out")

    with pytest.raises(StoreBusyError):
        store.compact(MONTHS[::2], lost)
    assert store.objects.catalog.below("") == before


def test_a_month_that_was_changed_meanwhile_is_skipped_and_its_object_removed() -> None:
    store = Store()

    def changes() -> None:
        store.store.keep((day("MSFT", "2024-01-02"), [at(0), at(2)]))

    done = store.compact(MONTHS[::2], changes)

    assert [each.condition for each in done] == [Condition.SKIPPED] * 3
    assert store.month_objects() == []
    assert [each.condition for each in store.compact(MONTHS[::2])] == [Condition.CHANGED] * 3


def test_a_damaged_day_keeps_its_month_alone_from_being_compacted() -> None:
    store = Store()
    recorded = {month: recorded_as_stored(store.store.layout, month) for month in MONTHS[::2]}
    store.store.keep((day("BRK.B", "2024-01-02"), [at(0), at(2)]))  # another file than the recorded one
    done = [*store.months.compact(MONTHS[::2], recorded.__getitem__, IDENTITY, lambda: None, dry_run=False)]
    assert {str(each.month.symbol): each.condition for each in done} == {
        "AAPL": Condition.CHANGED,
        "BRK.B": Condition.FAILED,
        "MSFT": Condition.CHANGED,
    }
