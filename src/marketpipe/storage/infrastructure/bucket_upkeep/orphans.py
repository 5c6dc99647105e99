"""Collecting the objects that no file of a store is in, or no longer.

The clock is that of the server: a mark is put and listed to see it. A dry run puts nothing, and goes by the clock of
its machine. What is removed is older than the grace time, so that a write that has put its object, and has not changed
the catalog yet, never loses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.bucket_upkeep import CollectionReport
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import (
    KNOWN,
    entry_of,
    snapshot_key,
    snapshots,
    written_snapshot,
)
from marketpipe.storage.infrastructure.objects.change_notes import without_notes
from marketpipe.storage.infrastructure.objects.condition_probe import PROBES
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore, StoredObject, directly_in, packs_in

MARKS: Final = "marks/"
Counts = tuple[int, int, int, int, int, int]


@frozen
class OrphanCollector:
    """Removes packs that the catalog does not name. One at a time may work on a store, and none may recover it then.

    ``confirm`` raises if the catalog is one that was lost: it names no object, so all of them would be orphans.
    """

    catalog: FileCatalog
    store: ObjectStore
    new_name: Callable[[], str]
    now: Timestamp
    confirm: Callable[[], None]

    def collect(self, grace: timedelta) -> CollectionReport:
        """Put a snapshot of the catalog, then remove what is older than the grace time.

        In this order: what the new snapshot covers is not needed to recover the catalog any more. Raises
        ``StorageError`` and ``StateError``; call it again then. Raises ``ConfigurationError`` if the bucket has a
        snapshot of another state: what that one knows, and this one does not, would be removed.
        """
        former = self._former_snapshots()
        without_notes(self.catalog)
        before = self._moment_ns() - grace // timedelta(microseconds=1) * 1000
        packs = [*packs_in(self.store)]
        counts, orphans = self._judged(packs, before)
        covered = [pack.key for pack in packs if pack.modified_ns < before]
        key = snapshot_key(former)
        entry = entry_of(key)
        self.confirm()  # a catalog that was lost would be made anew by the entry, and would no longer look lost
        self.catalog.change(CatalogChange(placed=[entry]))
        snapshot = written_snapshot(self.catalog, covered)
        self.confirm()  # after the last question to the catalog, and before the first change of the bucket
        if not self.store.put_new(key, snapshot):
            self.catalog.change(CatalogChange(removed=[entry.path]))
            raise StorageError(f"another process has written {key} just now; nothing was removed, try again")
        self.store.delete([orphan.key for orphan in orphans])
        others = [each.key for each in former]
        left = (each for area in (PROBES, MARKS) for each in directly_in(self.store, area))
        others += [each.key for each in left if each.modified_ns < before]
        self.store.delete(others)
        known = [each.path for each in self.catalog.below(KNOWN) if each.path != entry.path]
        self.catalog.change(CatalogChange(removed=known))
        return CollectionReport(*counts, len(others), key, dry_run=False)

    def collectable(self, grace: timedelta) -> CollectionReport:
        """Return what would be removed by this machine's clock, and change nothing."""
        former = self._former_snapshots()
        before = (self.now.epoch_micros - grace // timedelta(microseconds=1)) * 1000
        counts, _ = self._judged([*packs_in(self.store)], before)
        self.confirm()
        return CollectionReport(*counts, len(former), None, dry_run=True)

    def _former_snapshots(self) -> list[StoredObject]:
        found = snapshots(self.store)
        unknown = next((each.key for each in found if self.catalog.find(entry_of(each.key).path) is None), None)
        if unknown is not None:
            raise ConfigurationError(
                f"nothing was removed: this state has not written {unknown}, a snapshot in the bucket. Either this "
                "state came from a backup, or another one works with the same bucket. 'marketpipe recover --force' "
                "makes a new state of all objects; then let all machines use that one"
            )
        return found

    def _judged(self, packs: list[StoredObject], before: int) -> tuple[Counts, list[StoredObject]]:
        """Return the first numbers of the report, and the orphans. The catalog is asked after the packs were listed."""
        named = self.catalog.objects()
        orphans = [pack for pack in packs if pack.key not in named and pack.modified_ns < before]
        waiting = [pack for pack in packs if pack.key not in named and pack.modified_ns >= before]
        kept = [pack for pack in packs if pack.key in named]
        return (*_sums(orphans), *_sums(kept), *_sums(waiting)), orphans

    def _moment_ns(self) -> int:
        """Return the present moment by the server's clock."""
        key = f"{MARKS}{self.new_name()}"
        self.store.put_new(key, b"now")
        try:
            return next(each.modified_ns for each in self.store.listed(MARKS) if each.key == key)
        except StopIteration:
            raise StorageError(f"{key} was put, and is not listed: the server's clock is unknown; try again") from None
        finally:
            self.store.delete([key])


def _sums(packs: Sequence[StoredObject]) -> tuple[int, int]:
    return len(packs), sum(pack.size for pack in packs)
