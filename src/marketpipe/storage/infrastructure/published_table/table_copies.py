"""Objects that are made for a table: copies of days that are in no other, found again by what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor
from hashlib import sha256
from typing import Final

from attrs import define

from marketpipe.shared_kernel.domain.errors import ObjectLostError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.storage.domain.published_table import TableFile
from marketpipe.storage.infrastructure.objects.object_ranges import read_together
from marketpipe.storage.infrastructure.objects.object_store import TABLES, ObjectStore
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile
from marketpipe.storage.infrastructure.objects.table_objects import new_table_object
from marketpipe.storage.infrastructure.published_table.table_parts import named_file, written_file

COPIES: Final = "tables/copies/"
NewExecutor = Callable[[int, str], Executor]


@define(eq=False)
class TableCopies:
    catalog: FileCatalog
    store: ObjectStore
    new_name: Callable[[], str]
    now_ns: Callable[[], int]
    new_executor: NewExecutor

    def copy(self, part: str, files: Sequence[PlacedFile]) -> tuple[TableFile, bool]:
        """Return an object of just these files of a part, and whether it was made now.

        Raises ``NotAFooter`` for files that are no table, and ``StorageError``.
        """
        entry = f"{COPIES}{part}/{_digest(files)}"
        found = self.catalog.find(f"{entry}.json")
        if found is not None:
            return named_file(found), False
        contents = dict(self._contents(files))
        new = [NewPackedFile(file.path, contents[file.path], file.modified_ns) for file in files]
        table = new_table_object(new, CatalogChange(), self.now_ns(), is_copy=True)
        key = table.pack.key(f"{TABLES}{self.new_name()}")
        if not self.store.put_new(key, table.pack.content):
            raise StorageError(f"another object has the new name {key}; nothing was changed, try again")
        made = TableFile(key, len(table.pack.content), table.figures)
        # Named by the catalog at once, as long as it may be used again: gc removes what is not.
        placed = [
            PlacedFile(f"{entry}.object", key, 0, made.size, self.now_ns()),
            written_file(f"{entry}.json", made, self.now_ns()),
        ]
        self.catalog.change(CatalogChange(placed=placed))
        return made, True

    def unused(self, part: str, used: Collection[str]) -> list[str]:
        """Return the entries of copies of a part, or of all if it is "", whose keys are not among those used.

        What the table still names is kept all the same: by entries of its own.
        """
        found = self.catalog.below(f"{COPIES}{part}".rstrip("/"))
        return [file.path for file in found if (file.object or named_file(file).key) not in used]

    def _contents(self, files: Sequence[PlacedFile]) -> Iterator[tuple[str, bytes]]:
        yield from ((file.path, file.content) for file in files if file.content is not None)
        placed = [file for file in files if file.content is None]
        for file, content in read_together(placed, self.store, self.new_executor, "marketpipe-table"):
            if len(content) != file.size:
                raise ObjectLostError(f"{file.object} ends before the end of {file.path}")
            yield file.path, content


def _digest(files: Sequence[PlacedFile]) -> str:
    digest = sha256()
    for file in files:
        digest.update(f"{file.path} {file.object} {file.offset} {file.size} {file.modified_ns}\n".encode())
    return digest.hexdigest()
