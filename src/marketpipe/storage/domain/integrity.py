"""What can be wrong with the files of a store, and the rule that compares a file with its record. See ADR 0011."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition, size_and_time_in
from marketpipe.storage.domain.storage_metadata import DIGITS, digests_by_day

INGESTING: Final = "'marketpipe ingest'"
IMPORTING: Final = "'marketpipe import' with your files"


class StoreArea(StrEnum):
    """The parts of a store. The path of a file begins with one of these, whatever the folder is called on a machine."""

    DATA = "data"
    AGGREGATES = "aggregates"
    QUARANTINE = "quarantine"
    REVISIONS = "revisions"
    OFFICIAL = "official"
    COPIES = "copies"


def repaired_by(identity: DatasetIdentity | None) -> str:
    """Return the advice for damaged bars of any dates. ``identity`` is the dataset, None if it is not known."""
    return f"'marketpipe verify' lists all damage; {_brought_by(INGESTING, identity)} repairs it"


FROM_A_BACKUP: Final = "'marketpipe verify' lists all damage; a damaged former version comes back from a backup only"
"""The advice for a revision: the provider gives its bars of today."""
MOVE_AWAY: Final = "move away what is in its place"
"""The advice for a folder, or anything else that is no file, in the place of one: no command replaces it."""
NO_FILE: Final = f"it is not a file; {MOVE_AWAY}"


def scope_of(month: MonthPartition) -> str:
    """Return the options of a command that is to work on this month alone."""
    return f"--symbols {month.symbol} --start {month.first} --end {month.last}"


def brought_again_by(month: MonthPartition, identity: DatasetIdentity | None) -> str:
    """Return the commands that bring lost bars of a month again; both if the dataset is not known."""
    return _brought_by(f"'marketpipe ingest {scope_of(month)}'", identity)


def _brought_by(requesting: str, identity: DatasetIdentity | None) -> str:
    if identity is None:
        return f"{requesting}, or {IMPORTING} if the bars were imported,"
    return IMPORTING if identity.is_imported else requesting


def repair_of(month: MonthPartition, identity: DatasetIdentity | None) -> str:
    """Return the advice for a month whose file is damaged. ``identity`` is the dataset, None if it is not known."""
    return (
        f"{brought_again_by(month, identity)} repairs it; 'marketpipe compact --undo {scope_of(month)}' keeps what can "
        "be read of it"
    )


class Damage(StrEnum):
    """The kinds of problems. ``FOREIGN`` is a file that is not named as those of a store are; ``ADDED`` is one that is
    not in a lock, though the lock is of its symbol and dates; ``LEFTOVER`` is one that a process left which is gone;
    ``STALE`` is an aggregate or a read copy that counts as fresh, and was made of other bytes than the store has;
    ``DOUBLED`` is a day file whose day is in the file of its month too.
    """

    ALTERED = "altered"
    UNREADABLE = "unreadable"
    MISLABELLED = "mislabelled"
    GONE = "gone"
    UNRECORDED = "unrecorded"
    FOREIGN = "foreign"
    ADDED = "added"
    LEFTOVER = "leftover"
    STALE = "stale"
    DOUBLED = "doubled"


@frozen
class IntegrityProblem:
    """A problem with one file. ``path`` begins with the area; ``symbol_day`` is None except for minute bars."""

    path: str
    damage: Damage
    reason: str
    symbol_day: SymbolDay | None = None


@frozen
class CheckedFile:
    """A file of the store that was read to its last byte.

    ``trading_date`` is None for an aggregate; ``dates`` are the first and the last of its bars, None if the file does
    not state them. ``sources`` are the digests of the day files that it was made of, by month. ``modified`` is the
    modification time. ``problem`` is what is wrong with the file itself, whatever was recorded of it.
    """

    area: StoreArea
    path: str
    symbol: Symbol
    trading_date: TradingDate | None
    dates: tuple[TradingDate, TradingDate] | None = field(repr=False)
    size_bytes: int
    mark: VersionMark
    modified: Timestamp
    sha256: str
    identity: DatasetIdentity | None = None
    problem: IntegrityProblem | None = None
    sources: Mapping[str, str] = field(factory=dict, repr=False, eq=False)

    @property
    def symbol_day(self) -> SymbolDay | None:
        """The symbol-day of a file of minute bars; None for any other file."""
        if self.area is not StoreArea.DATA or self.trading_date is None:
            return None
        return SymbolDay(self.symbol, self.trading_date)

    def is_within(self, first: TradingDate, last: TradingDate) -> bool:
        """Return whether all its bars are of dates between these, both inclusive."""
        return self.dates is not None and first <= self.dates[0] and self.dates[1] <= last

    def problem_with(self, damage: Damage, reason: str) -> IntegrityProblem:
        return IntegrityProblem(self.path, damage, reason, self.symbol_day)


@frozen
class IntegrityReport:
    """The result of reading every byte. ``extra`` are files that are not in the lock that was compared.

    ``suspect`` counts damaged days whose files have the recorded mark. The check marked them as failed in the state, so
    that the next ingestion requests them again; nothing else would notice them. ``identity`` is the dataset of the
    store, None if it is not known.
    """

    files: int
    size_bytes: int
    problems: tuple[IntegrityProblem, ...]
    extra: tuple[str, ...] = ()
    suspect: int = 0
    identity: DatasetIdentity | None = None

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def doubted(self) -> int:
        """The former name of ``suspect``."""
        return self.suspect


def lost_file(day: SymbolDay) -> IntegrityProblem:
    """Return the problem of a recorded day without a file."""
    path = f"{StoreArea.DATA}/{DataPartition(day).path}"
    return IntegrityProblem(path, Damage.GONE, "was recorded, and does not exist", day)


def problem_of(
    file: CheckedFile, recorded: RecordedVersion | None, identity: DatasetIdentity | None
) -> IntegrityProblem | None:
    """Return what is wrong with a file, or None. ``recorded`` is the record of a file of minute bars, if it has one;
    ``identity`` is the dataset of the store, None if it is not known.
    """
    if recorded is not None and file.sha256 != recorded.sha256:
        return file.problem_with(Damage.ALTERED, _altered(file, recorded))
    if file.problem is not None:
        return file.problem
    if identity is not None and file.identity not in (identity, None):
        return file.problem_with(Damage.MISLABELLED, f"is of {file.identity}; this store is of {identity}")
    if file.area is StoreArea.DATA and recorded is None:
        return file.problem_with(Damage.UNRECORDED, "exists, and the state does not know it")
    return None


def _altered(file: CheckedFile, recorded: RecordedVersion) -> str:
    recorded_size, _ = size_and_time_in(recorded.mark)  # None if an early version of MarketPipe recorded the file
    differs = recorded_size not in (None, file.size_bytes)
    size = f", {file.size_bytes:,} bytes instead of {recorded_size:,}" if differs else ""
    unreadable = f"; the file {file.problem.reason}" if file.problem else ""
    return f"its bytes are not those that were recorded{size}{unreadable}"


def dates_made_of_others(file: CheckedFile, digests: Mapping[TradingDate, Collection[str]]) -> list[TradingDate]:
    """Return the dates of which a file was made from other bytes than those with one of these ``digests``, or of none.

    Dates without digests do not count.
    """
    of_days = ((month, digests_by_day(text)) for month, text in file.sources.items())
    stated = {f"{month}-{day:02d}": digest for month, days in of_days for day, digest in days.items()}
    of_months = (date for date in digests if str(date)[:7] in file.sources)
    return sorted(date for date in of_months if stated.get(str(date)) not in {each[:DIGITS] for each in digests[date]})
