"""What the folders of months have, for one write: each is listed once, and not for each of its days."""

from __future__ import annotations

from attrs import Factory, frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.machine.disk import lexists
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.day_access import in_folder
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.store_layout import StoreLayout, names_in, newest_revision


@frozen
class MonthListings:
    """The folders of months, each listed once and not for each of its days: for one write, whose days are locked."""

    layout: StoreLayout
    _of_bars: dict[MonthPartition, frozenset[str] | None] = Factory(dict)
    _of_revisions: dict[MonthPartition, list[str]] = Factory(dict)

    def has_none(self, day: SymbolDay, name: str) -> bool:
        """Return whether a symbol-day has no day file, which would have this name.

        False also if its folder may not be listed: to open the file shows what is wrong. And if it has a month file.
        """
        month = MonthPartition.of(day)
        if month not in self._of_bars:
            self._of_bars[month] = self._names_in(str(self.layout.month(month)))
        names = self._of_bars[month]
        return names is not None and name not in names

    def _names_in(self, folder: str) -> frozenset[str] | None:
        disk = self.layout.disk
        try:
            found = in_folder(folder, disk.listdir, disk=disk)
            if found is None:  # there is none, or what is in its place is no folder
                return None if lexists(disk, folder) else frozenset()
        except (OSError, StorageError):
            return None
        return None if MONTH_FILE in found else frozenset(found)

    def forget(self, month: MonthPartition) -> None:
        """List the folder of a month again when it is next asked for."""
        self._of_bars.pop(month, None)

    def is_one_file(self, month: MonthPartition) -> bool:
        """Return whether a month that was asked for may have a month file."""
        return self._of_bars.get(month, frozenset()) is None

    def newest_revision(self, day: SymbolDay) -> Timestamp | None:
        """Return what ``StoreLayout.newest_revision`` returned when the month was first asked for."""
        month = MonthPartition.of(day)
        if month not in self._of_revisions:
            self._of_revisions[month] = names_in(self.layout.revisions / month.folder, self.layout.disk)
        return newest_revision(day, self._of_revisions[month]) if self._of_revisions[month] else None
