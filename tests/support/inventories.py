"""The two inventories, each with functions that change its store as users and accidents do."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from attrs import define, evolve, field

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, StoreInventory
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.inventory.file_inventory import FileInventory
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, sha256
from marketpipe.testing import bar, bar_table
from tests.support.in_memory_inventory import InMemoryInventory
from tests.support.store_on_disk import StoreOnDisk

KNOWN_SINCE = Timestamp.parse("2025-06-02T12:00:00.123456Z")
Recorded = dict[TradingDate, RecordedVersion]


class Harness(Protocol):
    @property
    def inventory(self) -> StoreInventory: ...

    def store(self, *days: SymbolDay) -> None:
        """Write and record a file for each symbol-day."""
        ...

    def recorded(self, symbol: str = "AAPL") -> Recorded: ...

    def lose(self, day: SymbolDay) -> None: ...

    def alter(self, day: SymbolDay) -> None:
        """Overwrite the file with as many other bytes."""
        ...

    def leave(self, day: SymbolDay) -> None:
        """Write a file without recording it."""
        ...

    def aggregate(self, symbol: str, *timeframes: Timeframe) -> None: ...

    def store_another(self, day: SymbolDay) -> None:
        """Store and record other content; leave the aggregates unchanged."""
        ...


@define
class OnDisk:
    root: Path
    _recorded: dict[SymbolDay, RecordedVersion] = field(factory=dict)
    machine: Machine = HERE
    """That of the inventory."""

    @property
    def inventory(self) -> FileInventory:
        return FileInventory(evolve(self.on_disk.layout, machine=self.machine))

    @property
    def on_disk(self) -> StoreOnDisk:
        return StoreOnDisk(self.root)

    def path(self, day: SymbolDay) -> Path:
        return self.on_disk.path(day)

    def store(self, *days: SymbolDay) -> None:
        for day in days:
            self._store(day, 100.0, KNOWN_SINCE)

    def store_another(self, day: SymbolDay) -> None:
        self._store(day, 200.0, KNOWN_SINCE.plus(timedelta(seconds=1)))

    def recorded(self, symbol: str = "AAPL") -> Recorded:
        return {day.trading_date: file for day, file in self._recorded.items() if str(day.symbol) == symbol}

    def lose(self, day: SymbolDay) -> None:
        self.path(day).unlink()

    def alter(self, day: SymbolDay) -> None:
        content = self.path(day).read_bytes()
        self.path(day).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def leave(self, day: SymbolDay) -> None:
        self._write(day, b"whatever it may be")

    def aggregate(self, symbol: str, *timeframes: Timeframe) -> None:
        self.on_disk.refresh(symbol, timeframes)

    def _store(self, day: SymbolDay, price: float, known_since: Timestamp) -> None:
        rows = bar_table([bar(f"{day.trading_date}T15:00:00Z", price)])
        content = ParquetWriter("zstd").encode_bars(rows, {})
        self._write(day, content)
        os.utime(self.path(day), ns=(0, known_since.epoch_micros * 1000))
        self._recorded[day] = RecordedVersion(
            file_mark(len(content), known_since.epoch_micros * 1000), known_since, sha256(content)
        )

    def _write(self, day: SymbolDay, content: bytes) -> None:
        self.path(day).parent.mkdir(parents=True, exist_ok=True)
        self.path(day).write_bytes(content)


@define
class RecordsOfDays:
    """The part of ``Checkpoints`` that the fake inventory uses."""

    days: dict[SymbolDay, IngestionCheckpoint] = field(factory=dict)

    def between(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> dict[TradingDate, IngestionCheckpoint]:
        known = {day.trading_date: record for day, record in self.days.items() if day.symbol == symbol}
        return {day: known[day] for day in sorted(known) if first <= day <= last}


@define
class InMemory:
    state: RecordsOfDays = field(factory=RecordsOfDays)
    inventory: InMemoryInventory = field(init=False)
    _made: dict[Symbol, tuple[str, ...]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.inventory = InMemoryInventory(self.state)

    def store(self, *days: SymbolDay) -> None:
        for day in days:
            file = RecordedVersion("a mark", KNOWN_SINCE, "ab" * 32)
            self.state.days[day] = IngestionCheckpoint(Outcome.COMPLETE, SessionHours.EXTENDED, rows=1, version=file)

    def store_another(self, day: SymbolDay) -> None:
        self.store(day)
        self.inventory.stale[day] = self._made[day.symbol]

    def recorded(self, symbol: str = "AAPL") -> Recorded:
        return {
            day.trading_date: record.version
            for day, record in self.state.days.items()
            if str(day.symbol) == symbol and record.version is not None
        }

    def lose(self, day: SymbolDay) -> None:
        self.inventory.lost.add(day)

    def alter(self, day: SymbolDay) -> None:
        self.inventory.altered.add(day)

    def leave(self, day: SymbolDay) -> None:
        self.inventory.unrecorded.add(day)

    def aggregate(self, symbol: str, *timeframes: Timeframe) -> None:
        self._made[Symbol(symbol)] = tuple(map(str, timeframes))
