"""Making the day files of a month one month file, and making them day files again, with the same bytes and times."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    MonthUnreadableError,
    PartitionUnreadableError,
    StorageError,
    count_of,
)
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, lexists
from marketpipe.storage.domain.compaction import CompactedMonth, Condition
from marketpipe.storage.domain.data_partition import MonthPartition, day_file
from marketpipe.storage.domain.integrity import repair_of
from marketpipe.storage.infrastructure.compacted.day_access import (
    DAY_NAME,
    in_folder,
    listed,
    month_problem,
    month_unreadable,
    parts_in,
    read_day,
)
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, DayPart, StoredDayFile
from marketpipe.storage.infrastructure.day_versions import VersionIndex
from marketpipe.storage.infrastructure.publishing.access_rights import give_rights, rights_of
from marketpipe.storage.infrastructure.publishing.day_joining import difference, joined
from marketpipe.storage.infrastructure.publishing.folder_exchange import Exchanged, FolderExchange
from marketpipe.storage.infrastructure.publishing.month_contents import (
    MonthContents,
    Recorded,
    ReplacedFiles,
    contents_of,
)
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from marketpipe.storage.infrastructure.publishing.temporary_files import is_left_behind, is_temporary
from marketpipe.storage.infrastructure.store_layout import StoreLayout, refuse_links, translating

logger = logging.getLogger("marketpipe.storage.damage")
NewLock = Callable[[], AbstractContextManager[None]]
LACKING = "which other days it had is not known"
CHANGED_MEANWHILE = "another program changed its folder meanwhile; try again"


class FolderEntry(NamedTuple):
    """What changes if what has a name in a folder is changed."""

    inode: int
    size: int
    modified_ns: int
    is_file: bool


class NewMonthFile(NamedTuple):
    """The file that a month becomes. ``before`` is what its folder has, ``contents`` that of a month file in it."""

    done: CompactedMonth
    file: StoredDayFile
    before: Mapping[str, FolderEntry]
    contents: MonthContents | None


class MonthFolders:
    """Changes the folders of months between their two forms. Readers see either form, never both or none.

    Raises ``StorageError``.
    """

    def __init__(self, layout: StoreLayout, files: PublishedFiles, exchange: FolderExchange, lock: NewLock) -> None:
        """``lock`` makes a lock that excludes every other thread and process that changes the form of a folder here."""
        self._layout, self._files, self._exchange, self._lock = layout, files, exchange, lock
        self._disk = layout.disk
        self._replaced_files, self._index = ReplacedFiles(layout, files), VersionIndex(layout)

    def months(self, symbol: Symbol) -> Sequence[MonthPartition]:
        return self._layout.months(symbol)

    def has_several_files(self, month: MonthPartition) -> bool:
        folder = str(self._layout.month(month))
        with translating(folder):
            return len(_of_bars(listed(folder, self._disk))) > 1

    def sweep(self) -> None:
        self._exchange.sweep()

    def compact(
        self, month: MonthPartition, recorded: Recorded, identity: DatasetIdentity, *, dry_run: bool
    ) -> CompactedMonth | None:
        """Make one file of the day files of a month; see ``MonthForms.compact``."""
        new = self.new_file(month, recorded, identity)
        if not isinstance(new, NewMonthFile):
            return new
        if dry_run:
            return new.done
        copies = self.set_aside(month, new)
        if not self._replaced(self._layout.month(month), new.file, new.before):
            return CompactedMonth.skipped(month, CHANGED_MEANWHILE)
        warn_of_set_aside(copies)
        return new.done

    def new_file(
        self, month: MonthPartition, recorded: Recorded, identity: DatasetIdentity
    ) -> NewMonthFile | CompactedMonth | None:
        """Return the file that a month becomes, or why it becomes none. Nothing is changed."""
        folder = self._layout.month(month)
        refuse_links(self._layout.data, month.folder, self._disk)
        with translating(folder):
            before = _entries_of(folder, self._disk) or {}
            self._refuse_damaged(month, identity)
        if len(_of_bars(before)) < 2:
            return CompactedMonth(month, Condition.UNCHANGED) if MONTH_FILE in before else None
        if reason := self._foreign(before):
            return CompactedMonth.skipped(month, reason)
        try:
            contents = self._contents(month, before, recorded) if MONTH_FILE in before else None
            if contents is not None and contents.unreadable:
                raise PartitionUnreadableError(f"{folder / contents.unreadable[0]} cannot be read")
            days = self._days(month, contents)
            if reason := difference(month, days, recorded):
                raise PartitionUnreadableError(reason)
            content = joined(month, days, recorded, identity)
        except PartitionUnreadableError as error:
            return CompactedMonth.skipped(month, str(error))
        sizes = sum(entry.size for entry in before.values()), len(content)
        done = CompactedMonth(month, Condition.CHANGED, len(before), 1, *sizes)
        whole = StoredDayFile(MONTH_FILE, content, max(day.modified_ns for day in days))
        return NewMonthFile(done, whole, before, contents)

    def set_aside(self, month: MonthPartition, new: NewMonthFile) -> dict[Path, Path]:
        """Copy what gives way to a recorded version; return where the copy of each path is."""
        return {} if new.contents is None else self._copied(month, new.contents)

    def _refuse_damaged(self, month: MonthPartition, identity: DatasetIdentity) -> None:
        """Raise ``MonthUnreadableError`` if the month has a month file, and it does not name its days."""
        folder = str(self._layout.month(month))
        if problem := month_problem(folder, self._disk):
            raise month_unreadable(f"{folder}{os.sep}{MONTH_FILE}", problem, repair_of(month, identity))

    def is_mixed(self, month: MonthPartition, dates: Collection[TradingDate]) -> bool:
        """Return whether the month file of a month is damaged, lacks one of these dates, or has day files beside it."""
        folder, disk = str(self._layout.month(month)), self._disk

        def read(opened: int) -> tuple[list[str], dict[str, DayPart]]:
            return disk.listdir(opened), parts_in(opened, folder, disk)

        with translating(folder):
            try:
                names, parts = in_folder(folder, read, disk=disk) or ([], {})
            except MonthUnreadableError:
                return True
        beside = any(map(DAY_NAME.fullmatch, names))
        return MONTH_FILE in names and (beside or any(day_file(date.day.day) not in parts for date in dates))

    def expand(self, month: MonthPartition, recorded: Recorded, *, dry_run: bool = False) -> CompactedMonth | None:
        """Make day files of the month file of a month; see ``MonthForms.expand``."""
        folder = self._layout.month(month)
        with translating(folder):
            if not lexists(self._disk, folder / MONTH_FILE):
                return None
        refuse_links(self._layout.data, month.folder, self._disk)
        with self._lock():
            with translating(folder):
                before = _entries_of(folder, self._disk) or {}
            if MONTH_FILE not in before:  # another thread or process was faster
                return None
            contents = self._contents(month, before, recorded)
            days = contents.from_month
            sizes = before[MONTH_FILE].size, sum(len(day.content) for day in days)
            if not dry_run:
                self._expand(month, folder, contents, before)
            return CompactedMonth(month, Condition.CHANGED, 1, len(days), *sizes, reason=_lost(contents))

    def _contents(self, month: MonthPartition, names: Collection[str], recorded: Recorded) -> MonthContents:
        def published() -> Collection[TradingDate]:
            return self._index.of(month.symbol).current_dates(month.first, month.last)

        return contents_of(month, self._layout.month(month), names, recorded, published, self._disk)

    def _replaced(self, folder: Path, whole: StoredDayFile, before: Mapping[str, FolderEntry]) -> bool:
        with self._lock():
            outcome = self._exchange.replace(folder, [whole], partial(_is_still, self._disk, before))
        if outcome is Exchanged.UNSUPPORTED:
            raise ConfigurationError(
                f"nothing was compacted: {folder.parent} and {self._layout.revisions} are on two file systems, or on "
                "one that cannot exchange two folders in one step (Linux with ext4, XFS, Btrfs or tmpfs can, and macOS "
                "with APFS); give a revisions_path beside output_path, on such a file system"
            )
        return outcome is Exchanged.DONE

    def _expand(
        self, month: MonthPartition, folder: Path, contents: MonthContents, before: Mapping[str, FolderEntry]
    ) -> None:
        outcome = Exchanged.UNSUPPORTED
        if before.keys() == {MONTH_FILE} and not contents.is_damaged:  # other files in the folder must stay
            outcome = self._exchange.replace(folder, contents.from_month, partial(_is_still, self._disk, before))
        if outcome is Exchanged.CHANGED_MEANWHILE:
            raise StorageError(f"{folder}: {CHANGED_MEANWHILE}")
        if outcome is Exchanged.UNSUPPORTED:
            # Days may be in both forms for a moment, or after a crash: our readers then take the day file.
            copies = self._copied(month, contents)
            self._move_unreadable(month, contents)
            with self._files.group() as group:
                for day in contents.from_month:
                    group.add(folder / day.name, day.content, day.modified_ns)
            if contents.file is None:
                copies[folder / MONTH_FILE] = self._replaced_files.move(month, folder / MONTH_FILE)
            else:
                self._give_rights(folder, contents.from_month)
                self._files.remove(folder / MONTH_FILE)
            self._files.confirm([folder / MONTH_FILE])
            warn_of_set_aside(copies)
            if contents.is_damaged:
                _warn(folder / MONTH_FILE, contents, copies.get(folder / MONTH_FILE))

    def _give_rights(self, folder: Path, days: Sequence[StoredDayFile]) -> None:
        """Let those read the days who could read the month file."""
        with translating(folder):
            rights = rights_of(folder / MONTH_FILE, self._disk)
            for day in days:
                give_rights(folder / day.name, rights, self._disk)

    def _move_unreadable(self, month: MonthPartition, contents: MonthContents) -> None:
        for name in contents.unreadable:
            kept_at = self._replaced_files.move(month, self._layout.month(month) / name)
            logger.warning("%s cannot be read. It is %s now", self._layout.month(month) / name, kept_at)

    def _copied(self, month: MonthPartition, contents: MonthContents) -> dict[Path, Path]:
        """Copy what is about to be removed and is no version on record; return where the copy of each path is."""
        taken = [*contents.set_aside]
        if contents.keeps_month_file and contents.file is not None:
            taken.append(contents.file)
        return {self._layout.month(month) / file.name: self._replaced_files.copy(month, file) for file in taken}

    def _days(self, month: MonthPartition, contents: MonthContents | None) -> list[StoredDayFile]:
        """Return the days of a month, ascending; those of ``contents`` in the place of files that are set aside."""
        taken = {day.name: day for day in contents.from_month} if contents else {}
        paths = self._layout.day_files(month)
        with translating(self._layout.month(month)):
            found = (taken.get(path.name) or read_day(str(path), self._disk) for path in paths)
            return [day for day in found if day is not None]

    def _foreign(self, names: Mapping[str, FolderEntry]) -> str | None:
        for name, entry in sorted(names.items()):
            if is_left_behind(name, self._layout.data, self._layout.machine):
                continue
            if is_temporary(name):
                return f"{name} is being written in its folder"
            if not entry.is_file or not _of_bars([name]):
                return f"{name} in its folder is not a file of the store: move it away"
        return None


def _entries_of(folder: Path, disk: Disk) -> dict[str, FolderEntry] | None:
    return in_folder(str(folder), partial(_entries, disk), disk=disk)


def _entries(disk: Disk, descriptor: int) -> dict[str, FolderEntry]:
    with disk.scandir(descriptor) as entries:
        found = ((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
        return {
            name: FolderEntry(each.st_ino, each.st_size, each.st_mtime_ns, stat.S_ISREG(each.st_mode))
            for name, each in found
        }


def _of_bars(names: Iterable[str]) -> list[str]:
    return [name for name in names if name == MONTH_FILE or DAY_NAME.fullmatch(name)]


def _is_still(disk: Disk, before: Mapping[str, FolderEntry], folder: Path) -> bool:
    return _entries_of(folder, disk) == before


def _lost(contents: MonthContents) -> str | None:
    """Return what the damage of a month file has cost; None for nothing."""
    if contents.may_lack_days:
        return f"{LACKING} (of its damaged file, {count_of(len(contents.from_month), 'day')} can be read)"
    return f"{count_of(len(contents.lost), 'day')} of its damaged file cannot be read" if contents.lost else None


def warn_of_set_aside(copies: Mapping[Path, Path]) -> None:
    """Name the day files that gave way to a recorded version. To be called when that has happened."""
    for path, copy in copies.items():
        if path.name != MONTH_FILE:
            logger.warning(
                "%s was not the version of that day that is recorded. It is %s now, for you to remove", path, copy
            )


def _warn(path: Path, contents: MonthContents, kept_at: Path | None) -> None:
    days, lost = count_of(len(contents.from_month), "day"), count_of(len(contents.lost), "day")
    unread = LACKING if contents.may_lack_days else f"{lost} could not be read"
    kept = "" if kept_at is None else f", {unread}. It is {kept_at} now, for you to remove"
    logger.warning("%s was damaged: %s of it became files again%s", path, days, kept)
