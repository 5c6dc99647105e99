"""A catalog made of the objects alone: the newest snapshot, and the packs that it does not cover, in their order.

A pack whose write was killed before the catalog changed counts like a file that was left on a disk: its days are there
again, unless another pack has a newer version of them.

Their order is that in which the server got them, as the clocks of the machines that wrote them may differ. Only for an
object that came much later than it was written, such as one that was restored from a backup, that says nothing: its
place is where its writer's clock puts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from typing import Final

from marketpipe.shared_kernel.domain.object_catalog import (
    INLINE,
    OF_ONE_STATE,
    AppendedLines,
    CatalogChange,
    FileCatalog,
    PlacedFile,
)
from marketpipe.storage.domain.bucket_upkeep import LEAST_GRACE
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import (
    all_files,
    entry_of,
    newest_snapshot,
    snapshots,
)
from marketpipe.storage.infrastructure.objects.change_notes import KNOWN
from marketpipe.storage.infrastructure.objects.month_objects import figures_entry
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore, StoredObject, packs_in
from marketpipe.storage.infrastructure.objects.packs import PackIndex, index_of

READING_THREADS: Final = 16
LONGEST_WRITE_NS: Final = LEAST_GRACE // timedelta(microseconds=1) * 1000


class RecoveredCatalog:
    """The files that a store of objects has, by what the objects tell."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._files = store, dict[str, PlacedFile]()

    def has_any(self, area: str) -> bool:
        return any(path.startswith(f"{area}/") for path in self._files)

    def write(self, catalog: FileCatalog) -> None:
        """Let the catalog have these files and no others, at one moment."""
        gone = [file.path for file in all_files(catalog) if file.path not in self._files]
        catalog.change(CatalogChange([*self._files.values()], removed=gone))

    def read(self, new_executor: Callable[[int, str], Executor]) -> None:
        """Read the newest snapshot, and the end of each pack since, with one request each. Raises ``StorageError``."""
        snapshot = newest_snapshot(self._store)
        # Notes of what has changed since the snapshot are lost: who publishes a table reads everything again.
        left = (f"{OF_ONE_STATE}/", KNOWN)
        kept = {path: file for path, file in snapshot.files.items() if not path.startswith(left)}
        known = (entry_of(each.key) for each in snapshots(self._store))
        self._files = {**kept, **{entry.path: entry for entry in known}}
        packs = [pack for pack in packs_in(self._store) if pack.key not in snapshot.covered]
        with new_executor(READING_THREADS, "marketpipe-recover") as executor:
            self._apply([*executor.map(lambda pack: (pack, index_of(self._store, pack)), packs)])

    def _apply(self, packs: Sequence[tuple[StoredObject, PackIndex]]) -> None:
        """A part whose last pack is absent is of a group that was never whole.

        Of packs of one moment those that remove something come last: what they remove was there before.
        """
        parts = {part for _, index in packs for part in index.parts}
        whole = ((pack, index) for pack, index in packs if not index.is_part or pack.key in parts)
        for pack, index in sorted(whole, key=_order):
            self._apply_one(pack, index)

    def _apply_one(self, pack: StoredObject, index: PackIndex) -> None:
        changes, files = index.changes, self._files
        kept = {file.path: file for file in index.kept}
        for path, name in changes.second_names.items():
            if name not in kept and path in files:
                files[name] = files[path].at(name)
        files.update(kept)
        for path in changes.removed:
            files.pop(path, None)
        placed = [*index.change_of(pack.key).placed]
        if index.figures is not None:
            placed.append(figures_entry(pack.key, index.figures, pack.size, index.moment_ns))
        files.update((file.path, file) for file in placed)
        for appended in changes.appended:
            self._append(appended)

    def _append(self, appended: AppendedLines) -> None:
        """Lines that are there already came with the snapshot, or of a write that was repeated."""
        content = self._content(appended.path)
        known = frozenset(() if content is None else content.splitlines())
        new = [line for line in appended.lines.splitlines() if line not in known]
        if new or content is None:
            lines = b"".join(line + b"\n" for line in new)
            whole = AppendedLines(appended.path, lines, appended.first_lines, appended.modified_ns)
            self._files[appended.path] = whole.appended_to(content)

    def _content(self, path: str) -> bytes | None:
        file = self._files.get(path)
        if file is None or file.object == INLINE:
            return None if file is None else file.content
        return self._store.get(file.object, file.offset, file.size)


def _order(each: tuple[StoredObject, PackIndex]) -> tuple[int, int, bool, bool, str]:
    """The writer's clock decides too between packs of one moment of the server, which may count whole seconds."""
    pack, index = each
    was_put_again = pack.modified_ns - index.moment_ns > LONGEST_WRITE_NS
    moment = index.moment_ns if was_put_again else pack.modified_ns
    return moment, index.moment_ns, not index.is_part, bool(index.changes.removed), pack.key
