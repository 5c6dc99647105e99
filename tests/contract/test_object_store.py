"""Every place of objects keeps the same promises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from marketpipe.shared_kernel.domain.errors import ObjectLostError
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.objects.obstore_objects import ObstoreObjects
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.loopback_s3 import loopback_bucket
from tests.support.s3_clients import objects_of

ONE, OTHER = "objects/0a-parquet", "objects/0b-parquet"


@pytest.fixture(params=["fake", "memory", "folder", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "S3":
        with loopback_bucket() as bucket:
            yield objects_of(bucket)
    elif request.param == "fake":
        yield InMemoryObjectStore()
    else:
        client = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "bucket", mkdir=True)
        yield ObstoreObjects(client, request.param)


def test_what_was_put_is_there_and_nothing_replaces_it(store: ObjectStore) -> None:
    assert store.put_new(ONE, b"one")

    assert store.put_new(ONE, b"one")
    assert not store.put_new(ONE, b"two")
    assert not store.put_new(ONE, b"another")
    assert store.get(ONE) == b"one"


def test_a_range_is_read_from_the_beginning_and_from_the_end(store: ObjectStore) -> None:
    store.put_new(ONE, b"0123456789")

    assert store.get(ONE, 2, 3) == b"234"
    assert store.get(ONE, 8, 100) == b"89"
    assert store.get(ONE, 7) == b"789"
    assert store.get(ONE, -4) == b"6789"
    assert store.get(ONE, -400) == b"0123456789"


def test_what_does_not_exist_is_an_error(store: ObjectStore) -> None:
    store.put_new(ONE, b"0123456789")

    with pytest.raises(ObjectLostError, match=OTHER):
        store.get(OTHER)
    with pytest.raises(ObjectLostError, match=ONE):
        store.get(ONE, 10, 5)


def test_objects_are_listed_with_their_sizes_and_times(store: ObjectStore) -> None:
    for key in (ONE, OTHER, "catalog/1.json", "objects2/0a.parquet"):
        store.put_new(key, key.encode())

    assert sorted((each.key, each.size) for each in store.listed("objects/")) == [(ONE, 18), (OTHER, 18)]
    assert {each.key for each in store.listed()} == {ONE, OTHER, "catalog/1.json", "objects2/0a.parquet"}
    assert [*store.listed("nothing/")] == []
    assert all(each.modified_ns > 1_600_000_000_000_000_000 for each in store.listed())


def test_more_objects_are_listed_and_deleted_than_one_answer_has(store: ObjectStore) -> None:
    keys = [f"objects/{number:04d}" for number in range(1003)]
    for key in keys:
        store.put_new(key, b"x")

    assert sorted(each.key for each in store.listed("objects/")) == keys
    store.delete(keys[1:])
    assert [each.key for each in store.listed("objects/")] == keys[:1]


def test_deleted_objects_are_gone_and_others_are_not(store: ObjectStore) -> None:
    for key in (ONE, OTHER):
        store.put_new(key, b"x")

    store.delete([])
    store.delete([ONE, "objects/never.parquet"])

    assert [each.key for each in store.listed()] == [OTHER]
    assert store.put_new(ONE, b"new")


def test_a_large_object_keeps_every_byte(store: ObjectStore) -> None:
    content = os.urandom(3_000_000)
    store.put_new(ONE, content)

    assert store.get(ONE) == content
    assert store.get(ONE, 1_234_567, 7) == content[1_234_567:1_234_574]
