from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.storage.infrastructure.objects.object_ranges import LARGEST_GAP, LARGEST_RANGE, ranges_of, read_together
from tests.support.examples import examples
from tests.support.in_memory_object_store import InMemoryObjectStore


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 90), st.integers(1, 10)), max_size=12))
@examples(50)
def test_every_file_is_read_as_it_is(places: list[tuple[str, int, int]]) -> None:
    store = InMemoryObjectStore()
    contents = {name: bytes(ord(name) ^ number for number in range(100)) for name in "ab"}
    for name, content in contents.items():
        store.put_new(name, content)
    files = [PlacedFile(f"data/{number}", *place, 1) for number, place in enumerate(places)]
    read = [found for each in ranges_of(files) for found in each.read(store)]
    assert sorted(read, key=lambda found: int(found[0].path[5:])) == [
        (file, contents[file.object][file.offset : file.offset + file.size]) for file in files
    ]
    assert store.requests["get"] == len({name for name, _, _ in places})


def test_files_that_are_far_apart_come_in_two_requests() -> None:
    files = [PlacedFile("data/1", "a", 0, 10, 1), PlacedFile("data/2", "a", 11 + LARGEST_GAP, 10, 1)]
    assert [each.size for each in ranges_of(files)] == [10, 10]


def test_a_range_is_bounded() -> None:
    size = LARGEST_RANGE // 2
    files = [PlacedFile(f"data/{number}", "a", number * size, size, 1) for number in range(3)]
    assert [len(each.files) for each in ranges_of(files)] == [2, 1]


def test_files_of_several_objects_are_read_together_and_nothing_is_read_for_none() -> None:
    store, asked = InMemoryObjectStore(), list[tuple[int, str]]()
    for name in "ab":
        store.put_new(name, f"content of {name}".encode())

    def new_executor(threads: int, name: str) -> Executor:
        asked.append((threads, name))
        return ThreadPoolExecutor(threads, name)

    files = [PlacedFile(f"data/{name}", name, 11, 9, 1) for name in "ab"]
    read = read_together(files, store, new_executor, "reader")
    assert [*read] == [(files[0], b"a"), (files[1], b"b")]  # shorter than its file says: the object ends there
    assert [*read_together([], store, new_executor, "reader")] == []
    assert asked == [(2, "reader")]
