from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import newest_snapshot
from marketpipe.storage.infrastructure.bucket_upkeep.orphans import OrphanCollector
from marketpipe.storage.infrastructure.objects.object_store import StoredObject
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore

AN_HOUR, HOUR_NS = timedelta(hours=1), 3_600 * 10**9


class Aging(InMemoryObjectStore):
    """Its clock is at ``hour``, whatever that of the caller says."""

    def __init__(self) -> None:
        super().__init__()
        self.hour, self.put_at = 0, dict[str, int]()

    def put_new(self, key: str, content: bytes) -> bool:
        self.put_at.setdefault(key, self.hour)
        return super().put_new(key, content)

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        for each in super().listed(prefix):
            yield StoredObject(each.key, each.size, self.put_at[each.key] * HOUR_NS)


def collector(store: Aging, catalog: InMemoryFileCatalog, now: str) -> OrphanCollector:
    names = count(store.requests.total())
    return OrphanCollector(catalog, store, lambda: f"{next(names):04d}", Timestamp.parse(now), lambda: None)


def test_only_the_clock_of_the_server_counts() -> None:
    store, catalog = Aging(), InMemoryFileCatalog()
    for store.hour, name in enumerate(("named", "old", "young")):
        store.put_new(f"objects/{name}", b"12345")
    catalog.change(CatalogChange(placed=[PlacedFile("data/x", "objects/named", 0, 5, 1)]))

    report = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR // 2)

    assert (report.removed, report.removed_bytes) == (2 - 1, 5)
    assert (report.kept, report.kept_bytes, report.waiting, report.waiting_bytes) == (1, 5, 1, 5)
    assert {*store.objects} == {"objects/named", "objects/young", report.snapshot}
    assert newest_snapshot(store).covered == {"objects/named", "objects/old"}
    assert [*newest_snapshot(store).files] == ["data/x"]


def test_leftovers_and_former_snapshots_are_removed_too() -> None:
    store, catalog = Aging(), InMemoryFileCatalog()
    first = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)
    store.put_new("probes/1", b"")
    store.put_new("marks/9", b"")
    store.hour = 2
    store.put_new("probes/2", b"")

    report = collector(store, catalog, "2050-01-01T00:00:01Z").collect(AN_HOUR)

    assert first.snapshot != report.snapshot
    assert report.others == 3
    assert {*store.objects} == {"probes/2", report.snapshot}
