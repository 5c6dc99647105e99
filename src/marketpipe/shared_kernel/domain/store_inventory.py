from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Protocol

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate


@frozen
class DatasetIdentity:
    """What may share a folder: bars of another provider, feed or adjustment are another dataset."""

    provider: str
    feed: str
    adjustment: str

    def __str__(self) -> str:
        return f"provider {self.provider}, feed {self.feed}, adjustment {self.adjustment}"


@frozen
class DayComparison:
    """What the provider says of a symbol-day today, against the bars that are stored.

    Counts are bars: ``unchanged`` and ``changed`` are in both, ``added`` are new, ``removed`` are stored only.
    ``largest_move`` is the largest relative change of a price among the changed. ``price_ratio`` and ``volume_ratio``
    are new over old where all the bars in both have, but for rounding, the same; None where they do not.
    ``error`` says why the day could not be compared.
    """

    symbol_day: SymbolDay
    unchanged: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    largest_move: float = 0.0
    price_ratio: float | None = None
    volume_ratio: float | None = None
    error: str | None = None

    @property
    def differs(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@frozen
class RecordedFile:
    """A file of minute bars as it was when it was written.

    ``known_since`` is the moment at which this content became the store's word: the file's modification time.
    """

    size_bytes: int
    known_since: Timestamp
    sha256: str


FileAppearance = tuple[int, int]
"""A file from outside: its size in bytes, and its modification time in microseconds since 1970."""
NO_APPEARANCE: FileAppearance = (-1, -1)
"""Of a file that is gone when it is looked at."""
NOBODY_KNOWS_WHEN = -1
"""In the place of the modification time that a file has to have: none has that."""


class FileCondition(Enum):
    """What has become of a file that is not as it was recorded."""

    GONE = "its file is gone"
    ALTERED = "its file is not the one that was recorded: cut short, damaged or changed by somebody else"
    UNRECORDED = "a file lies there that the state does not know"

    def __str__(self) -> str:
        return self.value


class FileRegister(Protocol):
    """What has been written down of the files of a store, and since when somebody doubts it."""

    def symbols(self) -> frozenset[Symbol]:
        """Of which anything was ever written down."""
        ...

    def files(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedFile]:
        """Between the dates, both inclusive; ascending."""
        ...

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """These files are not what they were, though they look it from outside: they are to be asked for again."""
        ...


class StoreInventory(Protocol):
    """What really lies in the store, whatever anybody has written down about it. Raises ``StorageError``."""

    def dates(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> frozenset[TradingDate]:
        """Those that have a file of minute bars, both bounds inclusive."""
        ...

    def appearances(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, FileAppearance]:
        """Of each file of minute bars between the dates, both inclusive."""
        ...

    def conditions(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, recorded: Mapping[TradingDate, RecordedFile]
    ) -> Mapping[TradingDate, FileCondition]:
        """Where the files between the dates differ from what was recorded of them; nothing where all is as it was.

        A file that looks the same from outside (size and modification time) is taken to be the same; one that does not
        is read and held against its digest.
        """
        ...

    def stale_aggregates(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, tuple[str, ...]]:
        """The timeframes whose aggregates were made from other minutes of that date than those that lie there now."""
        ...
