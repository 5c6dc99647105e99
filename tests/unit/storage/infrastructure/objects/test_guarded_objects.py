from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from threading import Lock

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.storage.infrastructure.objects.guarded_objects import (
    STATES,
    CurrentCatalog,
    ProbedObjects,
    StateOfABucket,
)
from marketpipe.storage.infrastructure.objects.object_store import PUT, StoredObject
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore


class Unconditional(InMemoryObjectStore):
    """Ignores the condition, as some servers do."""

    def put_new(self, key: str, content: bytes) -> bool:
        self.objects[key] = bytes(content)
        return True


class Ordered(InMemoryObjectStore):
    """Each object is put a microsecond after the one before."""

    dies = arrives = False

    def put_new(self, key: str, content: bytes) -> bool:
        if self.dies and not self.arrives:
            raise KeyboardInterrupt
        put = super().put_new(key, content)
        if self.dies:
            raise KeyboardInterrupt
        return put

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        keys = [*self.objects]
        return (StoredObject(each.key, each.size, keys.index(each.key) * 1000) for each in super().listed(prefix))


NAMES = map("{:04d}".format, count(1))


def state_of(store: InMemoryObjectStore, catalog: InMemoryFileCatalog, state: str = "a.sqlite") -> StateOfABucket:
    return StateOfABucket(store, catalog, "s3://bucket/bars", state, lambda: next(NAMES))


def probed(store: InMemoryObjectStore, catalog: InMemoryFileCatalog, server: str = "https://one") -> ProbedObjects:
    state = state_of(store, catalog)
    return ProbedObjects(store, catalog, state, "s3://bucket", server, lambda: next(NAMES), Lock())


def without_states(store: InMemoryObjectStore) -> dict[str, bytes]:
    return {key: content for key, content in store.objects.items() if not key.startswith(STATES)}


def test_a_server_is_probed_before_the_first_put_and_never_again() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    first = probed(store, catalog)
    assert [*first.listed()] == []
    assert store.requests[PUT] == 0

    assert first.put_new("a", b"one")
    assert first.put_new("b", b"two")
    assert probed(store, catalog).put_new("c", b"three")

    assert store.requests[PUT] == 2 + 1 + 3
    assert without_states(store) == {"a": b"one", "b": b"two", "c": b"three"}
    assert first.get("b", 1, 1) == b"w"
    first.delete(["a"])
    assert "a" not in store.objects


def test_another_server_is_probed_by_itself() -> None:
    store, catalog = InMemoryObjectStore(), InMemoryFileCatalog()
    probed(store, catalog).put_new("a", b"one")
    probed(store, catalog, "https://another").put_new("b", b"two")

    assert store.requests[PUT] == 2 * 2 + 1 + 2


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


def test_a_state_that_another_one_has_taken_the_place_of_puts_nothing_more() -> None:
    store, one, other = Ordered(), InMemoryFileCatalog(), InMemoryFileCatalog()
    first = probed(store, one)
    first.put_new("objects/1.pack", b"of the first")
    state_of(store, other, "postgresql://host/b").take_over()
    state_of(store, other, "postgresql://host/b").refuse_another()
    state_of(store, other, "postgresql://host/b").take_over()  # it has it already

    for again in (probed(store, one), probed(store, one, "https://the-same-server-by-another-name")):
        with pytest.raises(
            ConfigurationError, match=r"s3://bucket/bars have another state .*postgresql://host/b\..*a\.sq"
        ):
            again.put_new("objects/2.pack", b"of the first")
    assert len([*store.listed(STATES)]) == 2
    assert {*without_states(store)} == {"objects/1.pack"}


@pytest.mark.parametrize("arrives", [False, True])
def test_a_state_that_was_killed_as_it_took_over_takes_over_again(arrives: bool) -> None:
    store, one, other = Ordered(), InMemoryFileCatalog(), InMemoryFileCatalog()
    state_of(store, one).take_over()
    store.dies, store.arrives = True, arrives
    with pytest.raises(KeyboardInterrupt):
        state_of(store, other, "b.sqlite").take_over()
    store.dies = False

    state_of(store, other, "b.sqlite").refuse_another()
    state_of(store, other, "b.sqlite").take_over()

    state_of(store, other, "b.sqlite").refuse_another()
    with pytest.raises(ConfigurationError, match=r"b\.sqlite"):
        state_of(store, one).refuse_another()
