"""The day files of an open store as its readers find them again and again: what is as before is not worked out again.

Every file is examined every time, so that one that was changed in place is seen: by ``Disk.files_in``, without the lock
of the interpreter, so that several processors do.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from itertools import count
from operator import itemgetter
from typing import Any, Final

from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, FoundEntry
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import described, fingerprint_of, newest
from marketpipe.storage.infrastructure.aggregates.bounded_cache import make_room
from marketpipe.storage.infrastructure.compacted.day_access import DAY_NAME
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.parquet_files import map_in_threads
from marketpipe.storage.infrastructure.store_layout import DayFile, StoreLayout, scan_day_files, scan_readable_days

MOST_KEPT: Final = 8192
"""Months. Of each about 5 kB are kept."""
NO_FOLDER: Final = -1
"""In place of the number of a scan, and of the inode: all months without a folder are alike."""
_name: Final = itemgetter(0)


@frozen(eq=False)
class MonthScan:
    """What a folder of a month had. Two scans that found the same, one after the other, have the same number, but for
    those of a damaged month: what could not be read may be readable the next time.
    """

    number: int
    month: int
    found: Sequence[FoundEntry] = field(repr=False)
    inode: int
    is_damaged: bool = False
    """Whether there is a month file that cannot be read: its days are not among the day files."""
    listed: Sequence[DayFile] | None = field(default=None, repr=False)
    """The day files, if there is a month file that has some of them, or something that is no file."""

    @property
    def day_files(self) -> Sequence[DayFile]:
        """The day files, ascending, as ``scan_day_files`` returns them but for links to nowhere."""
        if self.listed is not None:
            return self.listed
        return sorted(file for file in self.found if DAY_NAME.fullmatch(file[0]))

    @cached_property
    def fingerprint(self) -> int | None:
        """What a fresh copy of the month has as its time; None if one of the day files is no file."""
        day_files = self.day_files
        if any(size < 0 for _, size, _ in day_files):
            return None
        return fingerprint_of(described(self.month, day_files), newest([day_files]))


class DayFileScans:
    """Scans folders of months, and keeps what it found to compare it with what it finds next. Threads may share it."""

    def __init__(self, most: int = MOST_KEPT, disk: Disk = REAL_DISK) -> None:
        self._most, self._kept, self._numbers, self._disk = most, dict[str, MonthScan](), count(), disk

    def of(self, folder: str) -> MonthScan:
        """Return what a folder has now; nothing if there is none, or a link to one. Raises ``StorageError``."""
        inode = self._inode(folder)
        if inode == NO_FOLDER:
            return self._absent(folder)
        found = None if inode is None else self._found_in(folder)
        if inode is None or found is None:
            return self._listed(folder)
        kept = self._kept.get(folder)
        if kept is not None and kept.inode == inode and kept.found == found:
            return kept
        are_day_files = _are_day_files(found)
        made = self._new(folder, found, inode) if are_day_files else self._listed(folder, found, inode)
        if self._inode(folder) != inode:  # a compaction has exchanged the folder
            return self._listed(folder)
        if not made.is_damaged:
            make_room(self._kept, self._most)
            self._kept[folder] = made
        return made

    def _absent(self, folder: str) -> MonthScan:
        found = self._listed(folder, (), NO_FOLDER)
        is_absent = not found.day_files and not found.is_damaged and self._inode(folder) == NO_FOLDER
        return evolve(found, number=NO_FOLDER) if is_absent else found

    def _listed(self, folder: str, found: Sequence[FoundEntry] = (), inode: int = 0) -> MonthScan:
        """Return what Python's scan finds. Without ``found`` it is not to be kept."""
        day_files, is_damaged = scan_readable_days(folder, self._disk)
        return self._new(folder, found, inode, is_damaged, day_files)

    def _new(self, folder: str, *what: Any) -> MonthScan:
        return MonthScan(next(self._numbers), int(folder[-2:]), *what)

    def _inode(self, folder: str) -> int | None:
        """Return that of a folder; ``NO_FOLDER`` if nothing is there, None if it is a link or may not be examined."""
        try:
            found = self._disk.lstat(folder)
        except FileNotFoundError:
            return NO_FOLDER
        except OSError:
            return None
        return found.st_ino if stat.S_ISDIR(found.st_mode) else None

    def _found_in(self, folder: str) -> Sequence[FoundEntry] | None:
        """Return what is in a folder, in no order; None if it may not be listed.

        A month file is there a second time, with its inode and the time at which that was changed: its days are in it,
        so it must be the same file, whatever its modification time says.
        """
        try:
            found = self._disk.files_in(folder)
            if MONTH_FILE in map(_name, found):
                status = self._disk.stat(f"{folder}/{MONTH_FILE}")
                found.append((MONTH_FILE, status.st_ino, status.st_ctime_ns))
            return found
        except (OSError, ValueError):  # the latter of a name that is no text
            return None


def _are_day_files(found: Sequence[FoundEntry]) -> bool:
    """Return whether there are only files, and no month file among them."""
    return all(size is not None and name != MONTH_FILE for name, size, _ in found)


def year_folders(layout: StoreLayout, symbol: Symbol, first: date, last: date) -> Iterator[tuple[int, dict[int, str]]]:
    """Yield the years between the dates that have a folder, each with its months, and where their folders would be.

    So a range of decades costs no system call for a year without bars. Raises ``StorageError``.
    """
    start, end = (first.year, first.month), (last.year, last.month)
    for year in layout.years(symbol):
        folder = f"{layout.data}/symbol={symbol}/year={year:04d}"
        months = (month for month in range(1, 13) if start <= (year, month) <= end)
        if folders := {month: f"{folder}/month={month:02d}" for month in months}:
            yield year, folders


@frozen(eq=False)
class RangeScan:
    """The day files of some symbols between two dates, both inclusive, at one moment: scanned once for all its users.

    The moment is that of the first question.
    """

    # A class with slots, whose cached properties hold no lock while a folder is scanned.
    _scans: DayFileScans
    _layout: StoreLayout
    _symbols: Sequence[Symbol]
    _first: TradingDate
    _last: TradingDate

    def of(self, folder: str) -> MonthScan:
        """Return what the folder of a month had; one of other dates is scanned now."""
        found = self._months.get(folder)
        return self._scans.of(folder) if found is None else found

    def readable_days(self, folder: str) -> tuple[Sequence[DayFile], bool]:
        """Return the day files, without those of a damaged month file, and whether it has one."""
        found = self.of(folder)
        return found.day_files, found.is_damaged

    def fingerprint(self, month: MonthPartition) -> int | None:
        """Return that of a month; None if one of its day files is no file. Raises ``StorageError``."""
        folder = f"{self._layout.data}/{month.folder}"
        found = self.of(folder)
        if found.is_damaged:
            scan_day_files(folder, self._layout.disk)  # raises what is wrong with it
            return None
        return found.fingerprint

    def version(self, symbol: Symbol) -> tuple[int, ...]:
        """Return what is equal only if the day files of a symbol are the same as when it was returned before."""
        return tuple(self._months[folder].number for folder in self._folders[symbol])

    @cached_property
    def _folders(self) -> dict[Symbol, list[str]]:
        return {symbol: list(self._folders_of(symbol)) for symbol in self._symbols}

    def _folders_of(self, symbol: Symbol) -> Iterator[str]:
        for _, folders in year_folders(self._layout, symbol, self._first.day, self._last.day):
            yield from folders.values()

    @cached_property
    def _months(self) -> dict[str, MonthScan]:
        # By several threads if there are many: the interpreter's lock is not needed while Arrow examines files.
        folders = [folder for some in self._folders.values() for folder in some]
        return dict(zip(folders, map_in_threads(self._scans.of, folders, self._layout.machine), strict=True))
