from __future__ import annotations

from threading import Lock

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.storage.infrastructure.objects.guarded_objects import CurrentCatalog, ProbedObjects
from marketpipe.storage.infrastructure.objects.object_store import PUT
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore


class Unconditional(InMemoryObjectStore):
    """Ignores the condition, as some servers do."""

    def put_new(self, key: str, content: bytes) -> bool:
        self.objects[key] = bytes(content)
        return True


def probed(store: InMemoryObjectStore, catalog: InMemoryFileCatalog, server: str = "https://one") -> ProbedObjects:
    return ProbedObjects(store, catalog, "s3://bucket", server, lambda: "0001", Lock())


def test_a_server_is_probed_before_the_first_put_and_never_again() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    first = probed(store, catalog)
    assert [*first.listed()] == []
    assert store.requests[PUT] == 0

    assert first.put_new("a", b"one")
    assert first.put_new("b", b"two")
    assert probed(store, catalog).put_new("c", b"three")

    assert store.requests[PUT] == 2 + 3
    assert store.objects == {"a": b"one", "b": b"two", "c": b"three"}
    assert first.get("b", 1, 1) == b"w"
    first.delete(["a"])
    assert "a" not in store.objects


def test_another_server_is_probed_by_itself() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    probed(store, catalog).put_new("a", b"one")
    probed(store, catalog, "https://another").put_new("b", b"two")

    assert store.requests[PUT] == 2 * 2 + 2


def test_a_server_that_ignores_conditions_is_refused_each_time() -> None:
    store, catalog = Unconditional(), InMemoryFileCatalog()
    objects = probed(store, catalog)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="s3://bucket ignores conditional writes"):
            objects.put_new("a", b"one")

    assert store.objects == {}
    assert not catalog.has_any("")


def test_the_current_catalog_reads_the_known_state_and_changes_the_writable_one() -> None:
    known, writable = InMemoryFileCatalog(), InMemoryFileCatalog()
    current = CurrentCatalog(lambda: known, lambda: writable, lambda: "n1")
    file = PlacedFile("data/a/x", "o", 0, 1, 1)

    current.change(CatalogChange(placed=[file]))
    assert current.find("data/a/x") is None
    known = writable

    assert current.find("data/a/x") == file
    assert [*current.listed("data/a")] == [*current.below("data")] == [file]
    assert [*current.folders("data")] == ["a"]
    assert current.has_any("data")
    assert current.objects() == {"o": 1}


def test_objects_that_the_state_does_not_know_are_not_added_to() -> None:
    store = InMemoryObjectStore()
    store.put_new("objects/1.pack", b"of a state that was lost")

    with pytest.raises(ConfigurationError, match="'marketpipe recover' makes it again"):
        probed(store, InMemoryFileCatalog()).put_new("objects/2.pack", b"new")

    assert [*store.objects] == ["objects/1.pack"]
