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

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import FileCatalog
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.bucket_upkeep import CollectionReport
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import (
    snapshot_key,
    snapshots,
    written_snapshot,
)
from marketpipe.storage.infrastructure.objects.condition_probe import PROBES
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore, StoredObject, packs_in

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
        ``StorageError`` and ``StateError``; call it again then.
        """
        before = self._moment_ns() - grace // timedelta(microseconds=1) * 1000
        packs = [*packs_in(self.store)]
        counts, orphans = self._judged(packs, before)
        covered = [pack.key for pack in packs if pack.modified_ns < before]
        former, snapshot = snapshots(self.store), written_snapshot(self.catalog, covered)
        self.confirm()  # after the last question to the catalog, and before the first change
        key = snapshot_key(former)
        if not self.store.put_new(key, snapshot):
            raise StorageError(f"another process has written {key} just now; nothing was removed, try again")
        self.store.delete([orphan.key for orphan in orphans])
        others = [each.key for each in former]
        left = (each for area in (PROBES, MARKS) for each in self.store.listed(area))
        others += [each.key for each in left if each.modified_ns < before]
        self.store.delete(others)
        return CollectionReport(*counts, len(others), key, dry_run=False)

    def collectable(self, grace: timedelta) -> CollectionReport:
        """Return what would be removed by this machine's clock, and change nothing."""
        before = (self.now.epoch_micros - grace // timedelta(microseconds=1)) * 1000
        counts, _ = self._judged([*packs_in(self.store)], before)
        self.confirm()
        return CollectionReport(*counts, len(snapshots(self.store)), None, dry_run=True)

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
