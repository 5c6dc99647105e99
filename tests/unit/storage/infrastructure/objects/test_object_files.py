"""How many objects a group costs, and what is left of one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.errors import StateError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange
from marketpipe.shared_kernel.domain.store_inventory import ABSENT
from marketpipe.storage.infrastructure.objects.object_files import MOST_BYTES, ObjectFiles
from marketpipe.storage.infrastructure.objects.object_store import PUT
from marketpipe.storage.infrastructure.objects.packs import index_at_the_end
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.object_disks import STORE, ObjectsInMemory

DATA, FORMER, LINES = Path(STORE), Path(f"{STORE}_revisions"), Path(f"{STORE}_revisions/known_since.csv")


@pytest.fixture
def objects() -> ObjectsInMemory:
    return ObjectsInMemory()


@pytest.fixture
def files(objects: ObjectsInMemory) -> ObjectFiles:
    return objects.files()


def puts(objects: ObjectsInMemory, act: Callable[[], object]) -> int:
    before = objects.store.requests[PUT]
    act()
    return objects.store.requests[PUT] - before


def replace_all(files: ObjectFiles) -> None:
    with files.group() as group:
        for number in range(100):
            group.add(DATA / str(number), b"new")
        files.keep({DATA / str(number): FORMER / str(number) for number in range(100)})
        group.append(LINES, b"line\n", lambda: b"head\n")


def test_a_group_is_one_object_and_one_change_with_second_names_and_lines(
    objects: ObjectsInMemory, files: ObjectFiles
) -> None:
    assert puts(objects, lambda: files.publish({DATA / str(n): b"old" for n in range(100)})) == 1

    changes = objects.catalog.calls["change"]
    assert puts(objects, lambda: replace_all(files)) == 1

    assert objects.catalog.calls["change"] - changes == 1
    content = list(objects.store.objects.values())[-1]
    index = index_at_the_end(content, len(content))
    assert len(index.files) == len(index.changes.second_names) == 100
    assert [(each.path, each.lines) for each in index.changes.appended] == [("revisions/known_since.csv", b"line\n")]


def test_what_is_collected_is_one_object(objects: ObjectsInMemory, files: ObjectFiles) -> None:
    files.publish({DATA / str(n): b"old" for n in range(100)})

    def withdraw() -> None:
        with files.collected():
            files.keep({DATA / str(n): FORMER / str(n) for n in range(100)})
            for number in range(100):
                files.remove(DATA / str(number))
            with files.collected():
                files.publish({FORMER / "empty": b"no bars"})

    assert puts(objects, withdraw) == 1
    assert [file.path for file in objects.catalog.below("data")] == []
    assert len(objects.catalog.below("revisions")) == 101


def test_nothing_is_put_for_what_changes_nothing(objects: ObjectsInMemory, files: ObjectFiles) -> None:
    def act() -> None:
        files.publish({})
        files.remove(DATA / "nowhere")
        files.keep({})
        with files.collected():
            files.remove(DATA / "nowhere")

    assert puts(objects, act) == 0
    assert objects.catalog.calls["change"] == 0


def test_an_error_inside_a_collection_leaves_nothing(objects: ObjectsInMemory, files: ObjectFiles) -> None:
    files.publish({DATA / "x": b"old"})

    def fail() -> None:
        with files.collected():
            files.publish({DATA / "x": b"new"})
            files.remove(DATA / "x")
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert [file.size for file in objects.catalog.below("data")] == [3]
    assert puts(objects, lambda: files.publish({DATA / "y": b"one"})) == 1  # none of it is left for the next change


def test_a_large_group_is_several_objects_that_appear_together(objects: ObjectsInMemory, files: ObjectFiles) -> None:
    large = bytes(MOST_BYTES // 2)

    with files.group() as group:
        for number in range(5):
            group.add(DATA / str(number), large)
        assert objects.store.requests[PUT] == 2
        assert [*objects.catalog.below("")] == []
        group.publish()

    assert len(objects.catalog.objects()) == len(objects.store.objects) == 3
    assert len(objects.catalog.below("data")) == 5


def test_objects_of_a_large_group_that_fails_are_removed(objects: ObjectsInMemory, files: ObjectFiles) -> None:
    def fail() -> None:
        with files.group() as group:
            group.add(DATA / "0", bytes(MOST_BYTES))
            group.add(DATA / "1", b"one")
            assert len(objects.store.objects) == 1
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert objects.store.objects == {}


class FailingCatalog(InMemoryFileCatalog):
    def change(self, change: CatalogChange) -> None:
        raise StateError("the connection was lost")


def test_an_object_stays_if_it_is_not_known_whether_the_catalog_was_changed() -> None:
    objects = ObjectsInMemory(catalog=FailingCatalog())

    with pytest.raises(StateError):
        objects.files().publish({DATA / "x": b"one"})

    assert len(objects.store.objects) == 1


def test_a_file_outside_of_the_store_is_refused(files: ObjectFiles) -> None:
    with pytest.raises(StorageError, match="outside of the bucket"):
        files.publish({Path("/elsewhere/x"): b"one"})


@define
class Recorder:
    """Notes what it was told, with ``objects`` as they were then."""

    objects: ObjectsInMemory
    told: list[tuple[str, Mapping[str, str], int]] = field(factory=list)

    def records(self, path: Path) -> bool:
        return path.is_relative_to(FORMER)

    @contextmanager
    def recorded(self, digests: Mapping[Path, str]) -> Iterator[None]:
        named = {path.name: digest[:4] for path, digest in digests.items()}
        self.told.append(("expected", named, len(self.objects.catalog.below(""))))
        yield
        self.told.append(("settled", named, len(self.objects.catalog.below(""))))


def test_digests_are_recorded_around_the_change(objects: ObjectsInMemory) -> None:
    recorder = Recorder(objects)
    files = objects.files(recorder=recorder)
    files.publish({DATA / "x": b"old", FORMER / "y": b"one"})
    recorder.told.clear()

    with files.collected():
        files.keep({DATA / "x": FORMER / "x"})
        files.remove(FORMER / "y")

    old = "cba0"  # sha256("old")
    assert recorder.told == [("expected", {"x": old, "y": ABSENT}, 2), ("settled", {"x": old, "y": ABSENT}, 2)]
