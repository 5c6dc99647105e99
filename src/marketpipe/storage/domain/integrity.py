from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from attrs import field, frozen

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DISTANT_PAST, TradingDate
from marketpipe.storage.domain.data_partition import DataPartition


class StoreArea(Enum):
    """The parts of a store. A file's path begins with this word, whatever its folder is called on this machine."""

    DATA = "data"
    AGGREGATES = "aggregates"
    QUARANTINE = "quarantine"
    REVISIONS = "revisions"

    def __str__(self) -> str:
        return self.value


class Damage(Enum):
    ALTERED = "altered"
    UNREADABLE = "unreadable"
    MISLABELLED = "mislabelled"
    GONE = "gone"
    UNRECORDED = "unrecorded"
    FOREIGN = "foreign"

    def __str__(self) -> str:
        return self.value


@frozen
class IntegrityProblem:
    """``path`` is that of a ``CheckedFile``, below the store; ``symbol_day`` is None but for files of minute bars."""

    path: str
    damage: Damage
    reason: str
    symbol_day: SymbolDay | None = None


@frozen
class CheckedFile:
    """A file of the store that was read to its last byte.

    ``trading_date`` is None for an aggregate; ``dates`` are the first and the last that the bars are of, None where
    nobody can tell. ``problem`` is what is wrong with it whatever was recorded.
    """

    area: StoreArea
    path: str
    symbol: Symbol
    trading_date: TradingDate | None
    dates: tuple[TradingDate, TradingDate] | None = field(repr=False)
    size_bytes: int
    mark: VersionMark
    known_since: Timestamp
    sha256: str
    identity: DatasetIdentity | None = None
    problem: IntegrityProblem | None = None

    @property
    def symbol_day(self) -> SymbolDay | None:
        """Of a file of minute bars."""
        minutes = self.area is StoreArea.DATA and self.trading_date is not None
        return SymbolDay(self.symbol, self.trading_date) if minutes and self.trading_date else None

    def lies_within(self, first: TradingDate, last: TradingDate) -> bool:
        """All its bars are of dates between these, both inclusive."""
        return self.dates is not None and first <= self.dates[0] and self.dates[1] <= last

    def found_wrong(self, damage: Damage, reason: str) -> IntegrityProblem:
        return IntegrityProblem(self.path, damage, reason, self.symbol_day)


@frozen
class IntegrityReport:
    """What reading every byte has shown. ``extra`` files are not in the lock that was held against the store.

    ``suspect`` counts damaged files that looked well from outside, of which word was left for the next ingestion.
    """

    files: int
    size_bytes: int
    problems: tuple[IntegrityProblem, ...]
    extra: tuple[str, ...] = ()
    suspect: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems


def recorded_date(file: CheckedFile) -> TradingDate:
    """``DISTANT_PAST`` for what is no file of minute bars: nothing is recorded of it."""
    return file.symbol_day.trading_date if file.symbol_day else DISTANT_PAST


def lost_files(symbol: Symbol, recorded: Mapping[TradingDate, RecordedVersion]) -> Iterator[IntegrityProblem]:
    for date in sorted(recorded):
        day = SymbolDay(symbol, date)
        path = f"{StoreArea.DATA}/{DataPartition(day).path}"
        yield IntegrityProblem(path, Damage.GONE, "was recorded, and is not here", day)


def problem_of(
    file: CheckedFile, recorded: RecordedVersion | None, identity: DatasetIdentity | None
) -> IntegrityProblem | None:
    """``recorded`` is what was written down of a file of minute bars, ``identity`` the dataset of the store."""
    if recorded is not None and file.sha256 != recorded.sha256:
        return file.found_wrong(Damage.ALTERED, _altered(file))
    if file.problem is not None:
        return file.problem
    if identity is not None and file.identity != identity:
        return file.found_wrong(Damage.MISLABELLED, f"is of {file.identity}; this store is of {identity}")
    if file.area is StoreArea.DATA and recorded is None:
        return file.found_wrong(Damage.UNRECORDED, "lies there, and the state does not know it")
    return None


def _altered(file: CheckedFile) -> str:
    unreadable = f"; {file.problem.reason}" if file.problem else ""
    return f"not the bytes that were recorded{unreadable}"
