from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from itertools import count

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import entry_of, newest_snapshot
from marketpipe.storage.infrastructure.bucket_upkeep.orphans import OrphanCollector
from marketpipe.storage.infrastructure.objects.object_store import StoredObject
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore

AN_HOUR, HOUR_NS = timedelta(hours=1), 3_600 * 10**9


def collector(store: InMemoryObjectStore, catalog: InMemoryFileCatalog, now: str) -> OrphanCollector:
    names = count(store.requests.total())
    return OrphanCollector(catalog, store, lambda: f"{next(names):04d}", Timestamp.parse(now), lambda: None)


def test_only_the_clock_of_the_server_counts() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    for hour, name in enumerate(("named", "old", "young")):
        store.now_ns = hour * HOUR_NS
        store.put_new(f"objects/{name}", b"12345")
    catalog.change(CatalogChange(placed=[PlacedFile("data/x", "objects/named", 0, 5, 1)]))

    report = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR // 2)

    assert (report.removed, report.removed_bytes) == (2 - 1, 5)
    assert (report.kept, report.kept_bytes, report.waiting, report.waiting_bytes) == (1, 5, 1, 5)
    assert {*store.objects} == {"objects/named", "objects/young", report.snapshot}
    assert newest_snapshot(store).covered == {"objects/named", "objects/old"}
    assert {*newest_snapshot(store).files} == {"data/x", "snapshots/00000001.parquet"}


def test_nothing_of_a_store_whose_prefix_is_inside_that_of_this_one_is_seen_or_removed() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    areas = ("objects/", "objects/delta/", "catalog/", "marks/", "probes/", "elsewhere/")
    for name in ("objects/0a.parquet", "objects/delta/0b.parquet", "catalog/20400101T000000.0Z-0c.parquet"):
        for area in areas:
            store.put_new(f"{area}{name}", b"of the other store")
    others = {*store.objects}
    store.put_new("objects/delta/0b.parquet", b"of this one")
    store.now_ns += 2 * HOUR_NS

    report = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)

    assert {*store.objects} == others | {report.snapshot}
    assert newest_snapshot(store).covered == {"objects/delta/0b.parquet"}


def test_a_state_that_does_not_know_the_snapshot_of_the_bucket_removes_nothing() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)
    from_a_backup = InMemoryFileCatalog()
    from_a_backup.change(CatalogChange(placed=[*catalog.below("snapshots")]))
    store.put_new("objects/since", b"")
    collector(store, catalog, "2050-01-02T00:00:00Z").collect(AN_HOUR)
    before, store.now_ns = {*store.objects}, 99 * HOUR_NS

    older = collector(store, from_a_backup, "2050-01-03T00:00:00Z")
    for sweep in (older.collect, older.collectable):
        with pytest.raises(ConfigurationError, match=r"has not written catalog/00000002.*'marketpipe recover --force'"):
            sweep(AN_HOUR)

    assert {*store.objects} == before
    recovered = InMemoryFileCatalog()
    recovered.change(CatalogChange(placed=[*newest_snapshot(store).files.values()]))
    report = collector(store, recovered, "2050-01-04T00:00:00Z").collect(AN_HOUR)
    assert [each.path for each in recovered.below("snapshots")] == [
        f"snapshots/{(report.snapshot or '').removeprefix('catalog/')}"
    ]


def test_leftovers_and_former_snapshots_are_removed_too() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    first = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)
    store.put_new("probes/1", b"")
    store.put_new("marks/9", b"")
    store.now_ns += 2 * HOUR_NS
    store.put_new("probes/2", b"")

    report = collector(store, catalog, "2050-01-01T00:00:01Z").collect(AN_HOUR)

    assert first.snapshot != report.snapshot
    assert report.others == 3
    assert {*store.objects} == {"probes/2", report.snapshot}


def test_a_second_snapshot_of_a_machine_that_is_behind_is_the_newest_all_the_same() -> None:
    """The first one names an object that is removed with the second."""
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    store.put_new("objects/dropped", b"12345")
    catalog.change(CatalogChange(placed=[PlacedFile("data/x", "objects/dropped", 0, 5, 1)]))
    collector(store, catalog, "2050-01-01T00:05:00Z").collect(AN_HOUR)
    catalog.change(CatalogChange(removed=["data/x"]))
    store.now_ns += 2 * HOUR_NS

    report = collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)

    assert (report.removed, report.others) == (1, 1)
    assert {*store.objects} == {report.snapshot}
    assert {*newest_snapshot(store).files} == {"snapshots/00000001.parquet", "snapshots/00000002.parquet"}


def test_of_two_snapshots_that_a_killed_collection_has_left_the_later_one_counts() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    for number in range(12):
        former = dict(store.objects)
        catalog.change(CatalogChange(placed=[PlacedFile("data/x", f"objects/{number}", 0, 5, 1)]))
        collector(store, catalog, f"2050-01-01T00:00:{59 - number}Z").collect(AN_HOUR)
        for key in former:
            store.put_new(key, former[key])
        catalog.change(CatalogChange(placed=[entry_of(key) for key in former]))

    assert newest_snapshot(store).files["data/x"].object == "objects/11"


def test_a_snapshot_that_another_process_has_written_is_not_replaced() -> None:
    """One at a time collects; if two do all the same, the second removes nothing."""
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    store.put_new("objects/old", b"12345")
    store.now_ns += 2 * HOUR_NS
    second = collector(store, catalog, "2050-01-01T00:00:00Z")

    def overtaken() -> None:
        store.put_new("catalog/00000001.parquet", b"of another")

    with pytest.raises(StorageError, match="another process has written catalog/00000001"):
        evolve(second, confirm=overtaken).collect(AN_HOUR)
    assert "objects/old" in store.objects
    with pytest.raises(ConfigurationError, match="has not written catalog/00000001"):
        second.collect(AN_HOUR)


class Failing(InMemoryObjectStore):
    """Its server is away from the request on that brings ``left`` to zero, until ``left`` is set anew."""

    left = 1_000

    def _ask(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StorageError("the server is away")

    def put_new(self, key: str, content: bytes) -> bool:
        self._ask()
        return super().put_new(key, content)

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        self._ask()
        return super().listed(prefix)

    def delete(self, keys: Collection[str]) -> None:
        self._ask()
        super().delete(keys)


@pytest.mark.parametrize("requests", range(10))
def test_an_error_in_the_middle_loses_nothing_and_the_next_call_does_the_rest(requests: int) -> None:
    store, catalog = Failing(), InMemoryFileCatalog()
    for name in ("named", "dropped", "orphan"):
        store.put_new(f"objects/{name}", b"12345")
    for name in ("named", "dropped"):
        catalog.change(CatalogChange(placed=[PlacedFile(f"data/{name}", f"objects/{name}", 0, 5, 1)]))
    store.now_ns += 2 * HOUR_NS
    collector(store, catalog, "2050-01-01T00:00:00Z").collect(AN_HOUR)
    catalog.change(CatalogChange(removed=["data/dropped"]))

    store.left = requests
    with pytest.raises(StorageError, match="the server is away"):
        collector(store, catalog, "2050-01-01T00:00:01Z").collect(AN_HOUR)
    store.left = 1_000
    assert {file.object for file in newest_snapshot(store).files.values()} <= {"", *store.objects}

    store.now_ns += 2 * HOUR_NS
    report = collector(store, catalog, "2050-01-01T00:00:02Z").collect(AN_HOUR)
    assert {*store.objects} == {"objects/named", report.snapshot}
