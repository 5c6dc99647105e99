from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
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
    return OrphanCollector(catalog, store, lambda: f"{next(names):04d}", Timestamp.parse(now))


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
    assert {*newest_snapshot(store).files} == {"data/x", "snapshots/20500101T000000.000000Z-0004.parquet"}


def test_nothing_of_a_store_whose_prefix_is_inside_that_of_this_one_is_seen_or_removed() -> None:
    store, catalog = Aging(), InMemoryFileCatalog()
    areas = ("objects/", "objects/delta/", "catalog/", "marks/", "probes/", "elsewhere/")
    for name in ("objects/0a.parquet", "objects/delta/0b.parquet", "catalog/20400101T000000.0Z-0c.parquet"):
        for area in areas:
            store.put_new(f"{area}{name}", b"of the other store")
    others = {*store.objects}
    store.put_new("objects/delta/0b.parquet", b"of this one")
    store.hour = 2

    report = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)

    assert {*store.objects} == others | {report.snapshot}
    assert newest_snapshot(store).covered == {"objects/delta/0b.parquet"}


def test_a_state_that_does_not_know_the_snapshot_of_the_bucket_removes_nothing() -> None:
    store, catalog = Aging(), InMemoryFileCatalog()
    collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)
    from_a_backup = InMemoryFileCatalog()
    from_a_backup.change(CatalogChange(placed=[*catalog.below("snapshots")]))
    store.put_new("objects/since", b"")
    collector(store, catalog, "2050-01-02T00:00:00Z").collect(AN_HOUR)
    before, store.hour = {*store.objects}, 99

    older = collector(store, from_a_backup, "2050-01-03T00:00:00Z")
    for sweep in (older.collect, older.collectable):
        with pytest.raises(
            ConfigurationError, match=r"has not written catalog/20500102T.*'marketpipe recover --force'"
        ):
            sweep(AN_HOUR)

    assert {*store.objects} == before
    recovered = InMemoryFileCatalog()
    recovered.change(CatalogChange(placed=[*newest_snapshot(store).files.values()]))
    report = collector(store, recovered, "2050-01-04T00:00:00Z").collect(AN_HOUR)
    assert [each.path for each in recovered.below("snapshots")] == [
        f"snapshots/{(report.snapshot or '').removeprefix('catalog/')}"
    ]


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
