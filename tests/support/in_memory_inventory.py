from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Protocol

from attrs import define, field

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, VersionCondition, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate


class Records(Protocol):
    """The part of ``Checkpoints`` that knows the recorded files."""

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, IngestionCheckpoint]: ...


@define
class InMemoryInventory:
    """A ``StoreInventory`` in which every recorded file exists as it was recorded, with exceptions.

    Files in ``lost`` are gone, files in ``altered`` have other bytes, files in ``unrecorded`` exist without a record.
    ``stale`` has the timeframes whose aggregates are stale, by day. The folders of the days in ``unreadable`` cannot be
    read.
    """

    checkpoints: Records
    lost: set[SymbolDay] = field(factory=set)
    altered: set[SymbolDay] = field(factory=set)
    unrecorded: set[SymbolDay] = field(factory=set)
    stale: dict[SymbolDay, tuple[str, ...]] = field(factory=dict)
    unreadable: set[SymbolDay] = field(factory=set)

    def dates(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> frozenset[TradingDate]:
        return frozenset(self._files(symbol, first, last))

    def marks(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, VersionMark]:
        return {day.day: file.mark if file else "altered" for day, file in self._files(symbol, first, last).items()}

    def conditions(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, recorded: Mapping[TradingDate, RecordedVersion]
    ) -> Mapping[TradingDate, VersionCondition]:
        self._refuse_unreadable(symbol, first, last)
        files = self._files(symbol, first, last)
        expected = {day: file for day, file in recorded.items() if first <= day <= last}
        gone = dict.fromkeys(expected.keys() - files.keys(), VersionCondition.GONE)
        unrecorded = dict.fromkeys(files.keys() - expected.keys(), VersionCondition.UNRECORDED)
        both = (day for day in files if day in expected and not _same(files[day], expected[day]))
        found = {**gone, **unrecorded, **dict.fromkeys(both, VersionCondition.ALTERED)}
        return {day: found[day] for day in sorted(found)}

    def stale_aggregates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, tuple[str, ...]]:
        self._refuse_unreadable(symbol, first, last)
        return {day: self.stale[SymbolDay(symbol, day)] for day in _of(self.stale, symbol, first, last)}

    def _refuse_unreadable(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> None:
        for day in _of(self.unreadable, symbol, first, last):
            raise StorageError(f"cannot read the folder of {day}")

    def _files(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> dict[TradingDate, RecordedVersion | None]:
        """Return the recorded versions; None for files that were changed afterwards."""
        files: dict[TradingDate, RecordedVersion | None] = {
            day: None if SymbolDay(symbol, day) in self.altered else record.version
            for day, record in self.checkpoints.between(symbol, first, last).items()
            if record.version is not None and SymbolDay(symbol, day) not in self.lost
        }
        return dict.fromkeys(_of(self.unrecorded, symbol, first, last)) | files


def _of(days: Iterable[SymbolDay], symbol: Symbol, first: TradingDate, last: TradingDate) -> list[TradingDate]:
    return sorted(day.trading_date for day in days if day.symbol == symbol and first <= day.trading_date <= last)


def _same(file: RecordedVersion | None, recorded: RecordedVersion) -> bool:
    return file is not None and file.sha256 == recorded.sha256
