"""The two bar stores, each with functions that read what is stored and that damage it."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
from attrs import define, evolve, field

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import TimeWindow
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.storage.application.ports import BarStore
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition
from marketpipe.storage.infrastructure.compacted.month_file import END_BYTES, MONTH_FILE, parts_at_the_end
from marketpipe.storage.infrastructure.parquet_files import bars_at
from marketpipe.testing import FakeClock, bar, bar_table
from tests.support.builders import columnar, day
from tests.support.in_memory_bar_store import InMemoryBarStore
from tests.support.object_disks import ROOM, ObjectsInMemory
from tests.support.store_on_disk import StoreOnDisk

Row = dict[str, Any]

OPEN = datetime.fromisoformat("2024-01-02T14:30:00Z")


class Harness(Protocol):
    @property
    def clock(self) -> FakeClock: ...

    @property
    def store(self) -> BarStore: ...

    def bars(self, day: SymbolDay) -> list[Row]: ...

    def quarantine(self, day: SymbolDay) -> list[Row]: ...

    def damage(self, day: SymbolDay) -> None: ...


@define
class OnDisk:
    root: Path
    clock: FakeClock = field(factory=FakeClock)
    store: BarStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = StoreOnDisk(self.root, clock=self.clock).partitions

    def bars(self, day: SymbolDay) -> list[Row]:
        return self._rows(StoreOnDisk(self.root).layout.bars(day))

    def quarantine(self, day: SymbolDay) -> list[Row]:
        return self._rows(StoreOnDisk(self.root).layout.rejected(day))

    def damage(self, day: SymbolDay) -> None:
        path = StoreOnDisk(self.root).layout.bars(day)
        before = path.stat()
        path.write_bytes(path.read_bytes()[:-9])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as after a failure of the disk

    def _rows(self, path: Path) -> list[Row]:
        names = bar_table([]).column_names
        return pq.ParquetFile(path).read().select(names).to_pylist() if path.exists() else []


@define
class Compacted(OnDisk):
    """A store in which every month becomes one file whenever bars were stored."""

    def __attrs_post_init__(self) -> None:
        self.store = CompactingStore(StoreOnDisk(self.root, clock=self.clock))
        for symbol in ("AAPL", "MSFT"):  # a month of one day stays as it is
            self.store.store(columnar((day(symbol, "2024-01-31"), [at(0)])), columnar())

    def bars(self, day: SymbolDay) -> list[Row]:
        found = bars_at(str(StoreOnDisk(self.root).layout.bars(day)))
        return [] if found is None else found.to_pylist()

    def damage(self, day: SymbolDay) -> None:
        """As after a failure of the disk, in a file that has kept its time."""
        path = StoreOnDisk(self.root).layout.bars(day).with_name(MONTH_FILE)
        content, before = bytearray(path.read_bytes()), path.stat()
        end = parts_at_the_end(bytes(content)[-END_BYTES:], len(content))[DataPartition(day).name]
        content[end.offset + end.size - 9] ^= 255
        path.write_bytes(bytes(content))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@define
class InBucket(OnDisk):
    """A store whose files are in objects: ``root`` is not on any disk."""

    root: Path = Path(ROOM)
    objects: ObjectsInMemory = field(factory=ObjectsInMemory, kw_only=True)
    machine: Machine = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.machine = self.objects.machine()
        files = self.objects.files(self.machine)
        self.store = StoreOnDisk(self.root, clock=self.clock, machine=self.machine, files=files).partitions

    def damage(self, day: SymbolDay) -> None:
        """As if the server had lost bytes of the object, which is read again."""
        found = self.objects.catalog.find(f"data/{DataPartition(day).path}")
        assert found is not None
        key, end = f"{found.object}-damaged", found.offset + found.size
        self.objects.store.objects[key] = self.objects.store.objects[found.object][: end - 9] + bytes(9)
        self.objects.catalog.change(CatalogChange(placed=[evolve(found, object=key)]))

    def _rows(self, path: Path) -> list[Row]:
        found = bars_at(str(path), disk=self.machine.disk)
        return [] if found is None else found.to_pylist()


@define
class CompactingStore:
    """A ``BarStore``. A compaction has leased the whole month: nothing is stored meanwhile."""

    disk: StoreOnDisk
    _turn: threading.Lock = field(factory=threading.Lock)

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        with self._turn:
            found = self.disk.partitions.store(accepted, rejected)
            self._compact([each.symbol_day for each in found])
        return found

    def withdraw(self, days: Collection[SymbolDay]) -> None:
        with self._turn:
            self.disk.partitions.withdraw(days)
            self._compact(days)

    def _compact(self, days: Collection[SymbolDay]) -> None:
        for month in {MonthPartition.of(each) for each in days}:
            self.disk.compact(str(month.symbol), str(month))


@define
class InMemory:
    clock: FakeClock = field(factory=FakeClock)
    store: InMemoryBarStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = InMemoryBarStore(clock=self.clock)

    def bars(self, day: SymbolDay) -> list[Row]:
        return self.store.bars.get(day, [])

    def quarantine(self, day: SymbolDay) -> list[Row]:
        return self.store.quarantine.get(day, [])

    def damage(self, day: SymbolDay) -> None:
        self.store.damaged.add(day)


def at(minute: int, price: float = 100.0, **changes: Any) -> Row:
    """Return the bar that starts ``minute`` minutes after the regular open."""
    return bar((OPEN + timedelta(minutes=minute)).isoformat(), price, **changes)


def word(day: SymbolDay, rows: Sequence[Row], whole: TimeWindow | None) -> ArrowBars:
    return ArrowBars(bar_table(rows), (SymbolDaySlice(day, 0, len(rows), whole),))
