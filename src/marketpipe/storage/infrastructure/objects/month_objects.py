"""Month objects: the month files of many symbols, of one month of the calendar, in one object that is a table.

The catalog is changed once for each object: readers see the days of all of its months, or the month files of all. What
they have listed before stays readable, for objects never change. See docs/adr/0051.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import groupby
from typing import Any, Final, Protocol

from attrs import define, evolve, field

from marketpipe.shared_kernel.domain.errors import StorageError, StoreUnreachableError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.storage.domain.compaction import CompactedMonth, RecordedIn
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.domain.published_table import TableFigures
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter
from marketpipe.storage.infrastructure.objects.object_store import TABLES, ObjectStore
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile, Pack, new_pack
from marketpipe.storage.infrastructure.objects.table_objects import MOST_ROW_GROUPS, new_table_object
from marketpipe.storage.infrastructure.publishing.month_folders import (
    CHANGED_MEANWHILE,
    MonthFolders,
    NewMonthFile,
    warn_of_set_aside,
)

OBJECT_BYTES: Final = 128_000_000
"""Day files that go into one object, at most, unless one month has more. So much is in memory twice."""
BROUGHT_BYTES: Final = 32_000_000
"""Day files that are read at once, in few requests, before they are joined."""
FIGURES: Final = "tables/objects/"
"""Where the catalog has the figures of each month object: what publishes them as a table need not read them."""


class Bringing(Protocol):
    def bring(self, files: Iterable[PlacedFile]) -> None:
        """Read files that are going to be read, in few requests."""


class Changed(Exception):
    """A month was changed while its file was made."""


@define(eq=False)
class MonthObjects:
    """``MonthsTogether``. ``together`` makes one transaction of changing the catalog and confirming the leases."""

    catalog: FileCatalog
    store: ObjectStore
    disk: Bringing
    folders: MonthFolders
    new_name: Callable[[], str]
    now_ns: Callable[[], int]
    together: Callable[[], AbstractContextManager[None]] = nullcontext
    object_bytes: int = field(default=OBJECT_BYTES, kw_only=True)

    def batches(self, months: Iterable[MonthPartition]) -> Iterator[Sequence[MonthPartition]]:
        in_order = sorted(months, key=lambda month: (month.year, month.month, month.symbol))
        for _, together in groupby(in_order, lambda month: (month.year, month.month)):
            batch, size, files = list[MonthPartition](), 0, 0
            for month in together:
                found = self._files(month)
                more = sum(file.size for file in found) if len(found) > 1 else 0
                if batch and (size + more > self.object_bytes or files + len(found) > MOST_ROW_GROUPS):
                    yield batch
                    batch, size, files = [], 0, 0
                batch.append(month)
                size, files = size + more, files + len(found)
            yield batch

    def compact(
        self,
        months: Sequence[MonthPartition],
        recorded: RecordedIn,
        identity: DatasetIdentity,
        confirm: Callable[[], None],
        *,
        dry_run: bool,
    ) -> Iterator[CompactedMonth]:
        before = {month: self._files(month) for month in months}
        made = dict[MonthPartition, NewMonthFile]()
        for month in self._brought(before):
            new = self._new_file(month, recorded, identity)
            if isinstance(new, CompactedMonth):
                yield new
            elif new is not None:
                made[month] = new
        if made and not dry_run:
            copies = {
                path: at for month, new in made.items() for path, at in self.folders.set_aside(month, new).items()
            }
            if not self._published(made, before, confirm):
                yield from (CompactedMonth.skipped(month, CHANGED_MEANWHILE) for month in made)
                return
            warn_of_set_aside(copies)
        yield from (new.done for new in made.values())

    def _new_file(
        self, month: MonthPartition, recorded: RecordedIn, identity: DatasetIdentity
    ) -> NewMonthFile | CompactedMonth | None:
        try:
            return self.folders.new_file(month, recorded(month), identity)
        except StorageError as error:  # of one month: the others are compacted all the same
            return CompactedMonth.failed(month, error)

    def _brought(self, files: Mapping[MonthPartition, Sequence[PlacedFile]]) -> Iterator[MonthPartition]:
        """Yield the months, each when its files are at hand."""
        waiting, brought, size = list[MonthPartition](), list[PlacedFile](), 0
        for month, found in files.items():
            waiting.append(month)
            if len(found) > 1:
                brought += found
                size += sum(file.size for file in found)
            if size >= BROUGHT_BYTES:
                self.disk.bring(brought)
                yield from waiting
                waiting, brought, size = [], [], 0
        self.disk.bring(brought)
        yield from waiting

    def _published(
        self,
        made: Mapping[MonthPartition, NewMonthFile],
        before: Mapping[MonthPartition, Sequence[PlacedFile]],
        confirm: Callable[[], None],
    ) -> bool:
        """Put the object, and change the catalog. Return False, with nothing changed, if one of the months was."""
        files = [
            NewPackedFile(f"{_folder(month)}/{MONTH_FILE}", new.file.content, new.file.modified_ns)
            for month, new in made.items()
        ]
        names = [file.path for month in made for file in before[month] if not file.path.endswith(f"/{MONTH_FILE}")]
        pack, figures = self._object(files, CatalogChange(removed=names))
        key = pack.key(f"{TABLES}{self.new_name()}" if figures else self.new_name())
        if not self.store.put_new(key, pack.content):
            raise StorageError(f"another object has the new name {key}; nothing was changed, try again")
        change = pack.index.change_of(key)
        if figures:
            entry = figures_entry(key, figures, len(pack.content), pack.index.moment_ns)
            change = evolve(change, placed=[*change.placed, entry])
        try:
            with self.together():
                confirm()
                if any([*self._files(month)] != [*before[month]] for month in made):
                    raise Changed
                self.catalog.change(change)
        except Changed:
            with suppress(StoreUnreachableError):  # it is an orphan then, which gc collects
                self.store.delete([key])
            return False
        return True

    def _object(self, files: Sequence[NewPackedFile], change: CatalogChange) -> tuple[Pack, TableFigures | None]:
        try:
            table = new_table_object(files, change, self.now_ns())
        except NotAFooter:  # files of another program, whose columns differ: they are read one by one all the same
            return new_pack(files, change, self.now_ns()), None
        return table.pack, table.figures

    def _files(self, month: MonthPartition) -> Sequence[PlacedFile]:
        return self.catalog.below(_folder(month))


def figures_entry(key: str, figures: TableFigures, size: int, modified_ns: int) -> PlacedFile:
    return PlacedFile.inline(f"{FIGURES}{key}", json.dumps(figures_text(figures, size)).encode(), modified_ns)


def figures_text(figures: TableFigures, size: int) -> dict[str, Any]:
    return {
        "files": figures.files,
        "rows": figures.rows,
        "size": size,
        "symbols": figures.symbols,
        "dates": figures.dates,
        "times": figures.times,
    }


def _folder(month: MonthPartition) -> str:
    return f"{StoreArea.DATA}/{month.folder}"
