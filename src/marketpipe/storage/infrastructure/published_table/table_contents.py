"""What a published table consists of, of one moment of the catalog: each live bar is in one object of it.

An object whose files are all live is in it as it is. Days of others are copied into objects that are made for it: those
of a trading date together, so that a correction makes a new copy of that date alone. A copy is found again by
what it is made of, as long as the same days are live.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from hashlib import sha256
from itertools import groupby
from typing import Final

from attrs import define, field

from marketpipe.shared_kernel.domain.errors import ObjectLostError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.domain.published_table import TableContents, TableFigures, TableFile
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter
from marketpipe.storage.infrastructure.objects.month_objects import FIGURES, OBJECT_BYTES, figures_entry
from marketpipe.storage.infrastructure.objects.object_ranges import ranges_of
from marketpipe.storage.infrastructure.objects.object_store import TABLES, ObjectStore
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile
from marketpipe.storage.infrastructure.objects.table_objects import MOST_ROW_GROUPS, new_table_object

COPIES: Final = "tables/copies/"
READING_THREADS: Final = 8
DAYS_IN_A_MONTH: Final = 31
NewExecutor = Callable[[int, str], Executor]


@define(eq=False)
class LiveTable:
    """``TableSource`` over a catalog and a bucket."""

    catalog: FileCatalog
    store: ObjectStore
    new_name: Callable[[], str]
    now_ns: Callable[[], int]
    new_executor: NewExecutor
    object_bytes: int = field(default=OBJECT_BYTES, kw_only=True)

    def contents(self) -> TableContents:
        live, left = _in_one_form(self.catalog.below(StoreArea.DATA.value))  # one question: of one moment
        figures = {file.path: file for file in self.catalog.below(FIGURES.rstrip("/"))}
        by_object = dict[str, list[PlacedFile]]()
        for file in live:
            by_object.setdefault(file.object, []).append(file)
        whole, loose = list[TableFile](), list[PlacedFile]()
        for key, files in by_object.items():
            entry = figures.get(FIGURES + key)
            known = None if entry is None else table_file(key, entry)
            if known is not None and known.figures.files == len(files):
                whole.append(known)
            else:
                loose += files
        copies, made = list[TableFile](), list[str]()
        for group in _groups(loose, self.object_bytes):
            try:
                copy, is_new = self._copy(group)
            except (NotAFooter, ObjectLostError) as error:
                left.append(f"{group[0].path} and {len(group) - 1} more: {error}")
                continue
            copies.append(copy)
            made += [copy.key] if is_new else []
        self._forget(figures, by_object.keys(), copies)
        return TableContents((*whole, *copies), tuple(made), tuple(left))

    def _copy(self, files: Sequence[PlacedFile]) -> tuple[TableFile, bool]:
        """Return an object of just these files, and whether it was made now."""
        digest = _digest(files)
        entry = f"{COPIES}{digest}.json"
        found = self.catalog.find(entry)
        if found is not None:
            return _named(found), False
        contents = dict(self._contents(files))
        new = [NewPackedFile(file.path, contents[file.path], file.modified_ns) for file in files]
        table = new_table_object(new, CatalogChange(), self.now_ns(), is_copy=True)
        key = table.pack.key(f"{TABLES}{self.new_name()}")
        if not self.store.put_new(key, table.pack.content):
            raise StorageError(f"another object has the new name {key}; nothing was changed, try again")
        made = TableFile(key, len(table.pack.content), table.figures)
        # Named by the catalog at once, as long as it may be used again: gc removes what is not.
        placed = [
            PlacedFile(f"{COPIES}{digest}.object", key, 0, made.size, self.now_ns()),
            _written(entry, made, self.now_ns()),
        ]
        self.catalog.change(CatalogChange(placed=placed))
        return made, True

    def _contents(self, files: Sequence[PlacedFile]) -> Iterator[tuple[str, bytes]]:
        ranges = ranges_of(file for file in files if file.content is None)
        yield from ((file.path, file.content) for file in files if file.content is not None)
        if not ranges:
            return
        with self.new_executor(min(READING_THREADS, len(ranges)), "marketpipe-table") as executor:
            for contents in executor.map(lambda each: [*each.read(self.store)], ranges):
                for file, content in contents:
                    if len(content) != file.size:
                        raise ObjectLostError(f"{file.object} ends before the end of {file.path}")
                    yield file.path, content

    def _forget(self, figures: Mapping[str, PlacedFile], live: Iterable[str], copies: Sequence[TableFile]) -> None:
        """Forget the figures of objects of which no file is live, and copies of days that are not live any more.

        What the table still names is kept all the same: by entries of its own.
        """
        objects, used = set(live), {copy.key for copy in copies}
        gone = [path for path in figures if path.removeprefix(FIGURES) not in objects]
        for file in self.catalog.below(COPIES.rstrip("/")):
            key = file.object or _named(file).key
            if key not in used:
                gone.append(file.path)
        if gone:
            self.catalog.change(CatalogChange(removed=gone))


def table_file(key: str, entry: PlacedFile) -> TableFile | None:
    """Return what the catalog has of an object; None if it has no figures that can be read."""
    text = json.loads(entry.content or b"{}")
    if not text:
        return None
    times = text["times"] and (text["times"][0], text["times"][1])
    symbols, dates = tuple(text["symbols"]), tuple(text["dates"])
    return TableFile(key, text["size"], TableFigures(text["files"], text["rows"], symbols, dates, times))


def _written(path: str, made: TableFile, moment: int) -> PlacedFile:
    text = json.loads(figures_entry(made.key, made.figures, made.size, moment).content or b"")
    return PlacedFile.inline(path, json.dumps({**text, "key": made.key}).encode(), moment)


def _named(entry: PlacedFile) -> TableFile:
    key = json.loads(entry.content or b"")["key"]
    found = table_file(key, entry)
    if found is None:
        raise StorageError(f"the catalog has no figures at {entry.path}")
    return found


def _groups(files: Iterable[PlacedFile], most_bytes: int) -> Iterator[list[PlacedFile]]:
    """Yield files that become one object: of a trading date, or month files of a month, ascending by symbol."""
    for _, together in groupby(sorted(files, key=_place), lambda file: _place(file)[0]):
        group, size, days = list[PlacedFile](), 0, 0
        for file in together:
            more = DAYS_IN_A_MONTH if file.path.endswith(f"/{MONTH_FILE}") else 1
            if group and (size + file.size > most_bytes or days + more > MOST_ROW_GROUPS):
                yield group
                group, size, days = [], 0, 0
            group.append(file)
            size, days = size + file.size, days + more
        yield group


def _in_one_form(files: Sequence[PlacedFile]) -> tuple[list[PlacedFile], list[str]]:
    """Return the files of months that have one form, and what to say of the others: their rows would be doubled."""
    names = dict[str, list[str]]()
    for file in files:
        folder, _, name = file.path.rpartition("/")
        names.setdefault(folder, []).append(name)
    both = {folder for folder, found in names.items() if MONTH_FILE in found and len(found) > 1}
    left = [
        f"{folder}: it has days in its month file and as files: run 'marketpipe compact'" for folder in sorted(both)
    ]
    return [file for file in files if file.path.rpartition("/")[0] not in both], left


def _place(file: PlacedFile) -> tuple[str, str]:
    _, symbol, *date = file.path.split("/")
    return "/".join(date), symbol


def _digest(files: Sequence[PlacedFile]) -> str:
    digest = sha256()
    for file in files:
        digest.update(f"{file.path} {file.object} {file.offset} {file.size} {file.modified_ns}\n".encode())
    return digest.hexdigest()
