"""Making the day files of a month one month file, and making them day files again, with the same bytes and times."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from marketpipe.shared_kernel.domain.errors import ConfigurationError, PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.compaction import CompactedMonth, Condition
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.both_forms import ADVICE, differing_days
from marketpipe.storage.infrastructure.compacted.day_access import DAY_NAME, in_folder, read_day
from marketpipe.storage.infrastructure.compacted.month_file import (
    MONTH_FILE,
    MonthFileDamaged,
    StoredDayFile,
    days_in,
)
from marketpipe.storage.infrastructure.parquet_files import stored_content
from marketpipe.storage.infrastructure.publishing.day_joining import Recorded, difference, joined
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.folder_exchange import Exchanged, FolderExchange
from marketpipe.storage.infrastructure.publishing.temporary_files import is_left_behind, is_temporary
from marketpipe.storage.infrastructure.store_layout import StoreLayout, refuse_links, translating

NewLock = Callable[[], AbstractContextManager[None]]
CHANGED_MEANWHILE = "another program changed its folder meanwhile; try again"


class FolderEntry(NamedTuple):
    """What changes if what has a name in a folder is changed."""

    inode: int
    size: int
    modified_ns: int
    is_file: bool


class MonthFolders:
    """Changes the folders of months between their two forms. Readers see either form, never both or none.

    Raises ``StorageError``.
    """

    def __init__(self, layout: StoreLayout, files: DurableFiles, exchange: FolderExchange, lock: NewLock) -> None:
        """``lock`` makes a lock that excludes every other thread and process that changes the form of a folder here."""
        self._layout, self._files, self._exchange, self._lock = layout, files, exchange, lock

    def months(self, symbol: Symbol) -> Sequence[MonthPartition]:
        return self._layout.months(symbol)

    def sweep(self) -> None:
        self._exchange.sweep()

    def compact(
        self, month: MonthPartition, recorded: Recorded, identity: DatasetIdentity, *, dry_run: bool
    ) -> CompactedMonth | None:
        """Make one file of the day files of a month; see ``MonthForms.compact``."""
        folder = self._layout.month(month)
        refuse_links(self._layout.data, month.folder)
        with translating(folder):
            before = in_folder(str(folder), _entries) or {}
        if len([name for name in before if DAY_NAME.fullmatch(name)]) + (MONTH_FILE in before) < 2:
            return CompactedMonth(month, Condition.UNCHANGED) if MONTH_FILE in before else None
        try:
            if reason := self._foreign(before):
                raise PartitionUnreadableError(reason)
            self._refuse_differing(folder, before)
            days = self._days(month)
            if reason := difference(month, days, recorded):
                raise PartitionUnreadableError(reason)
            content = joined(month, days, recorded, identity)
        except PartitionUnreadableError as error:
            return CompactedMonth.skipped(month, str(error))
        sizes = sum(entry.size for entry in before.values()), len(content)
        done = CompactedMonth(month, Condition.CHANGED, len(before), 1, *sizes)
        if dry_run:
            return done
        whole = StoredDayFile(MONTH_FILE, content, max(day.modified_ns for day in days))
        return done if self._replaced(folder, whole, before) else CompactedMonth.skipped(month, CHANGED_MEANWHILE)

    def expand(self, month: MonthPartition, *, dry_run: bool = False) -> CompactedMonth | None:
        """Make day files of the month file of a month; see ``MonthForms.expand``."""
        folder = self._layout.month(month)
        if not os.path.lexists(folder / MONTH_FILE):
            return None
        refuse_links(self._layout.data, month.folder)
        with self._lock():
            with translating(folder):
                before = in_folder(str(folder), _entries) or {}
            if MONTH_FILE not in before:  # another thread or process was faster
                return None
            self._refuse_differing(folder, before)
            days = self._days_to_write(folder, before)
            sizes = before[MONTH_FILE].size, sum(len(day.content) for day in days)
            if not dry_run:
                self._expand(folder, days, before)
            return CompactedMonth(month, Condition.CHANGED, 1, len(days), *sizes)

    def _replaced(self, folder: Path, whole: StoredDayFile, before: Mapping[str, FolderEntry]) -> bool:
        with self._lock():
            outcome = self._exchange.replace(folder, [whole], partial(_is_still, before))
        if outcome is Exchanged.UNSUPPORTED:
            raise ConfigurationError(
                f"nothing was compacted: {folder.parent} and {self._layout.revisions} are on two file systems, or on "
                "one that cannot exchange two folders in one step (Linux with ext4, XFS, Btrfs or tmpfs can, and macOS "
                "with APFS); give a revisions_path beside output_path, on such a file system"
            )
        return outcome is Exchanged.DONE

    def _expand(self, folder: Path, days: Sequence[StoredDayFile], before: Mapping[str, FolderEntry]) -> None:
        outcome = Exchanged.UNSUPPORTED
        if before.keys() == {MONTH_FILE}:  # other files in the folder must stay
            outcome = self._exchange.replace(folder, days, partial(_is_still, before))
        if outcome is Exchanged.CHANGED_MEANWHILE:
            raise StorageError(f"{folder}: {CHANGED_MEANWHILE}")
        if outcome is Exchanged.UNSUPPORTED:
            # Days may be in both forms for a moment, or after a crash: our readers then take the day file.
            with self._files.group() as group:
                for day in days:
                    group.add(folder / day.name, day.content, day.modified_ns)
            self._files.remove(folder / MONTH_FILE)
            self._files.confirm([folder / MONTH_FILE])

    @staticmethod
    def _days_to_write(folder: Path, before: Mapping[str, FolderEntry]) -> list[StoredDayFile]:
        """Return the days of a month file that are not files too."""
        path = folder / MONTH_FILE
        with translating(path):
            found = stored_content(path)
        try:
            return [day for day in days_in(b"" if found is None else found[0]) if day.name not in before]
        except MonthFileDamaged as error:
            raise PartitionUnreadableError(f"{path} {error.problem}") from error

    @staticmethod
    def _refuse_differing(folder: Path, names: Collection[str]) -> None:
        """One of two versions of a day would be lost."""
        if MONTH_FILE in names and len(names) > 1:
            try:
                with translating(folder):
                    found = differing_days(folder)
            except MonthFileDamaged as error:
                raise PartitionUnreadableError(f"{folder / MONTH_FILE} {error.problem}") from error
            if found:
                raise PartitionUnreadableError(f"{folder / found[0]} {ADVICE}")

    def _days(self, month: MonthPartition) -> list[StoredDayFile]:
        paths = self._layout.day_files(month)
        with translating(self._layout.month(month)):
            return [day for path in paths if (day := read_day(str(path))) is not None]

    def _foreign(self, names: Mapping[str, FolderEntry]) -> str | None:
        for name, entry in sorted(names.items()):
            if is_left_behind(name, self._layout.data):
                continue
            if is_temporary(name):
                return f"{name} is being written in its folder"
            if not entry.is_file or not (name == MONTH_FILE or DAY_NAME.fullmatch(name)):
                return f"{name} in its folder is not a file of the store: move it away"
        return None


def _entries(descriptor: int) -> dict[str, FolderEntry]:
    with os.scandir(descriptor) as entries:
        found = ((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
        return {
            name: FolderEntry(each.st_ino, each.st_size, each.st_mtime_ns, stat.S_ISREG(each.st_mode))
            for name, each in found
        }


def _is_still(before: Mapping[str, FolderEntry], folder: Path) -> bool:
    return in_folder(str(folder), _entries) == before
