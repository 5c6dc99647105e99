from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.storage.domain.integrity import CheckedFile, StoreArea
from marketpipe.storage.domain.storage_metadata import AggregationReport


class BarStore(Protocol):
    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        """Durable when it returns: one entry for each slice of ``accepted``.

        A symbol-day that is stored already is merged: the newer word wins per timestamp, and what the newer word
        leaves out goes only where that word is whole. Where that changes nothing, ``known_since`` stays what it was;
        where it does, it is later than before, and what was stored before is not forgotten. One that cannot
        be stored has its ``error`` and holds up no other. Raises ``StorageError`` where none can be stored.
        """
        ...


class BarComparer(Protocol):
    def compare(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[DayComparison, ...]:
        """What ``BarStore.store`` would change: one entry for each slice of ``accepted``. Changes nothing.

        A file that cannot be read is the ``error`` of its day.
        """
        ...


class StoredBars(Protocol):
    def symbols(self) -> tuple[Symbol, ...]: ...

    def stored_days(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> Iterator[SymbolDay]:
        """Those with a file, ascending by symbol, then date."""
        ...

    def read(self, days: Sequence[SymbolDay]) -> ColumnarBars:
        """Raises ``PartitionUnreadableError``."""
        ...


class Aggregator(Protocol):
    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport | None:
        """What ``refresh`` would count, where a look from outside shows that all agrees; None where it has work to do.

        Changes nothing.
        """
        ...

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport:
        """Brings every month between the dates (both inclusive; None: no bound) up to date with its minutes."""
        ...


class StoredFiles(Protocol):
    """Every file of a store, read to the last byte; made for one walk through it.

    Raises ``StorageError`` for a folder it cannot look into.
    """

    def symbols(self) -> frozenset[Symbol]:
        """Those with a folder anywhere in the store."""
        ...

    def strays(self) -> Sequence[str]:
        """Files that belong to no symbol."""
        ...

    def strays_of(self, symbol: Symbol) -> Sequence[str]:
        """Files in its folders that are not named as those of a store are."""
        ...

    def paths(self, symbol: Symbol) -> Sequence[str]:
        """Of the files that ``check`` finds, whatever their dates, without reading them."""
        ...

    def check(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        *areas: StoreArea,
        proven: Collection[str] = (),
    ) -> Iterator[CheckedFile]:
        """Those that may have bars between the dates, both inclusive, of these areas, or of all; by area, then path.

        Every byte is read. Columns need not be decoded where the bytes have a ``proven`` hash.
        """
        ...

    def read_again(self, day: SymbolDay) -> CheckedFile | None:
        """Return the file of minute bars of a symbol-day as it is now; None if there is none."""
        ...

    def invalidate(self, aggregate: CheckedFile) -> None:
        """Make a damaged aggregate count as stale from now on. In a read-only store it has no effect."""
        ...

    def stored_days(
        self, symbol: Symbol, identity: DatasetIdentity, dates: Collection[TradingDate] | None = None
    ) -> Iterator[StoredSymbolDay]:
        """What ``BarStore.store`` must have said of each symbol-day, as far as its files tell; no particular order.

        Of these ``dates``; None: of all.

        The ``error`` of a day says why its file cannot be believed: damaged, or of another dataset.
        """
        ...
