"""What storage needs from its adapters: a store of bars, the aggregates of a symbol, every file to its last byte."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import (
    OfficialDayChange,
    OfficialDaysValidated,
    StoredOfficialYear,
    StoredSymbolDay,
)
from marketpipe.storage.domain.compaction import CompactedMonth, RecordedIn
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import CheckedFile, IntegrityProblem, StoreArea
from marketpipe.storage.domain.published_table import TableContents, TableFile, TableVersion
from marketpipe.storage.domain.storage_metadata import AggregationReport


class BarStore(Protocol):
    """Stores the bars of symbol-days. Raises ``StorageError``."""

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        """Store the bars durably and return one entry for each slice of ``accepted``.

        A symbol-day that is stored already is merged: the newer bar wins for each timestamp, and a stored bar that is
        not in a final response goes. If the bytes stay the same, ``known_since`` does too; if not, it is later than
        before, and the former version is kept. A day that cannot be stored has an ``error`` and blocks no other.
        Raises ``StorageError`` only if none can be stored, and ``StoreUnreachableError``.
        """

    def withdraw(self, days: Collection[SymbolDay]) -> None:
        """Remove the bars of symbol-days durably: the provider has withdrawn them.

        As of any moment before, they are still there; from now on there are none. Days without bars stay as they are.
        """


class OfficialDayStore(Protocol):
    """Stores official days, one file a symbol and year. Raises ``StorageError``.

    Two callers at the same time would lose each other's rows: ``OfficialDayStorer`` holds a lock.
    """

    def store(
        self, answer: OfficialDaysValidated, announce: Callable[[tuple[OfficialDayChange, ...]], None]
    ) -> tuple[StoredOfficialYear, ...]:
        """Store the answer to a request durably, and return one entry for each symbol and year that it has.

        The answered days replace the stored ones; the others of the year stay. Before a file is replaced, ``announce``
        is called with the stored days that change. A year that cannot be stored has an ``error`` and blocks no other.
        """


class Aggregator(Protocol):
    """Keeps the aggregates of one symbol in agreement with its minutes. Raises ``StorageError``.

    Dates are inclusive; None is no bound.
    """

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport | None:
        """Return what ``refresh`` would, if it has nothing to do, without opening a file; else None.

        Changes nothing.
        """

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> AggregationReport:
        """Bring every month between the dates up to date with its minutes."""


class MonthForms(Protocol):
    """The two forms of a month of a symbol: a file a day, or one file for all. Raises ``StorageError``."""

    def months(self, symbol: Symbol) -> Sequence[MonthPartition]:
        """Return the months of a symbol that have a folder, ascending."""

    def has_several_files(self, month: MonthPartition) -> bool:
        """Return whether there is more than one file of a month."""

    def compact(
        self,
        month: MonthPartition,
        recorded: Mapping[TradingDate, RecordedVersion],
        identity: DatasetIdentity,
        *,
        dry_run: bool,
    ) -> CompactedMonth | None:
        """Make one file of a month; None if it has fewer than two.

        It is skipped unless its days are just the ``recorded`` ones. No other process may write to the month meanwhile:
        the caller has leased every day of it. Raises ``ConfigurationError`` where it is not possible.
        """

    def expand(
        self, month: MonthPartition, recorded: Mapping[TradingDate, RecordedVersion], *, dry_run: bool
    ) -> CompactedMonth | None:
        """Make a file a day of a month again, with the bytes and times that they had; None if it is in that form.

        Of a damaged file these are the days that can be read; there is a ``reason`` if it lacks ``recorded`` ones.
        """

    def sweep(self) -> None:
        """Remove what a process that was killed has left."""


class MonthsTogether(Protocol):
    """The months of many symbols, where each file costs a request: they are compacted together, and become one object.

    Raises ``StorageError``.
    """

    def batches(self, months: Iterable[MonthPartition]) -> Iterator[Sequence[MonthPartition]]:
        """Yield the months in the order of the calendar, then by symbol, as many at a time as become one object."""

    def compact(
        self,
        months: Sequence[MonthPartition],
        recorded: RecordedIn,
        identity: DatasetIdentity,
        confirm: Callable[[], None],
        *,
        dry_run: bool,
    ) -> Iterator[CompactedMonth]:
        """Yield what became of each month of a batch, as ``MonthForms.compact`` returns it. All change at one moment.

        ``confirm`` raises ``StoreBusyError`` if the days of the months are not leased any more.
        """


class TableSource(Protocol):
    """What a table of all live minute bars consists of."""

    def contents(self) -> TableContents:
        """Return the objects that have each live bar once, of one moment. Some may have been made for it.

        Raises ``StorageError``.
        """


class TablePublisher(Protocol):
    """A table that other programs read, over objects of the store. One at a time may publish it."""

    def publish(self, files: Collection[TableFile]) -> TableVersion:
        """Let the table consist of just these objects, at one moment; return its version, which stays if it does so.

        Objects that leave it stay readable for a while. Raises ``StorageError`` and ``StateError``.
        """

    def catch_up(self) -> object:
        """Let the catalog name the objects of the table that was published, if it does not: so that none is removed.

        Raises ``StorageError`` and ``StateError``.
        """


class StoredFiles(Protocol):
    """Every file of a store, read to its last byte; for one walk through it.

    Raises ``StorageError`` for a folder that cannot be listed.
    """

    def symbols(self) -> frozenset[Symbol]:
        """Return the symbols that have a folder in any area."""

    def strays(self) -> Sequence[str]:
        """Return the paths of files that belong to no symbol."""

    def strays_of(self, symbol: Symbol) -> Sequence[str]:
        """Return the paths of files in a symbol's folders that are not named as those of a store are."""

    def month_problems(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        recorded: Mapping[TradingDate, RecordedVersion],
        identity: DatasetIdentity | None,
    ) -> Sequence[IntegrityProblem]:
        """Return what is wrong with files of whole months between the dates, besides the days in them.

        ``recorded`` are the versions of days of these months. The advice is for a store of this ``identity``.
        """

    def index_problem(self, symbol: Symbol) -> IntegrityProblem | None:
        """Return what is wrong with the record of since when a symbol's versions are known; None if nothing is."""

    def paths(self, symbol: Symbol) -> Sequence[str]:
        """Return the paths of all files that ``check`` can find, without reading them."""

    def check(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        *areas: StoreArea,
        proven: Collection[str] = (),
    ) -> Iterator[CheckedFile]:
        """Read the files that may have bars between the dates, both inclusive, of these areas, or of all.

        They come by area, then path. Bytes with a ``proven`` hash need not be decoded: they were decoded before.
        """

    def read_again(self, day: SymbolDay) -> CheckedFile | None:
        """Return the file of minute bars of a symbol-day as it is now; None if there is none."""

    def folders_of(self, symbol: Symbol, areas: Iterable[StoreArea]) -> Sequence[str]:
        """Return the folders of a symbol in these areas, each with its area and a slash at the end."""

    def read_path(self, path: str) -> CheckedFile | None:
        """Return the file that ``check`` found under that path as it is now; None if there is none."""

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary file, unless its process may be alive. In a read-only store it has no effect."""

    def exists(self, path: str) -> bool:
        """Return whether a file has that path, which begins with its area."""

    def dates_of(self, path: str) -> tuple[TradingDate, TradingDate] | None:
        """Return the first and the last date that a file of that path can have; None if none has such a path."""

    def published_digests(self, file: CheckedFile) -> frozenset[str]:
        """Return the digests that a revision may have, as the version index has them; none if it does not know."""

    def invalidate(self, file: CheckedFile) -> None:
        """Make a damaged file count as stale from now on. In a read-only store it has no effect."""

    def doubt(self, file: CheckedFile) -> None:
        """Make a whole file count as stale unless its digests are those of the day files; see ``invalidate``."""

    def is_fresh(self, file: CheckedFile) -> bool:
        """Return whether an aggregate or a read copy has the fingerprint of the day files as they are now."""

    def stored_days(
        self, symbol: Symbol, identity: DatasetIdentity, dates: Collection[TradingDate] | None = None
    ) -> Iterator[StoredSymbolDay]:
        """Yield what ``BarStore.store`` must have returned for each symbol-day, as far as its files tell.

        ``dates`` is None for all; the order is not defined. The ``error`` of a day is why its file cannot be trusted:
        it is damaged, or of another dataset.
        """
