from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from marketpipe.shared_kernel.domain.errors import ObjectLostError
from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.storage.infrastructure.objects.object_reader import ObjectReader
from tests.support.in_memory_object_store import InMemoryObjectStore

YEAR = "data/symbol=A/year=2024"
SIZE = 100


class Bucket:
    """Packs of files with 100 bytes each, which say in which pack and where they are."""

    def __init__(self, *packs: Sequence[str]) -> None:
        self.store, self.files, self.listings = InMemoryObjectStore(), list[PlacedFile](), 0
        for number, paths in enumerate(packs):
            key = f"objects/{number}"
            self.store.put_new(key, b"".join(content(path) for path in paths))
            self.files += [PlacedFile(path, key, SIZE * at, SIZE, 1) for at, path in enumerate(paths)]

    def below(self, folder: str) -> Iterable[PlacedFile]:
        self.listings += 1
        return [file for file in self.files if file.path.startswith(f"{folder}/")]

    def reader(self, kept_bytes: int = 1 << 20, ahead_bytes: int = 1 << 20) -> ObjectReader:
        return ObjectReader(self.store, self.below, kept_bytes=kept_bytes, ahead_bytes=ahead_bytes)

    @property
    def requests(self) -> int:
        return self.store.requests["get"]


def content(path: str) -> bytes:
    return path.encode().ljust(SIZE, b".")


def days(first: int, last: int, year: str = YEAR) -> list[str]:
    return [f"{year}/month={day // 20 + 1:02d}/day={day % 20:02d}.parquet" for day in range(first, last)]


def test_the_days_of_a_year_take_one_request_for_each_pack_and_one_more() -> None:
    bucket = Bucket(days(0, 100), days(100, 200), days(200, 240))
    reader = bucket.reader()

    assert [reader.read(file) for file in bucket.files] == [content(file.path) for file in bucket.files]

    assert bucket.requests == 4
    assert bucket.listings == 3
    assert bucket.store.bytes_read == 240 * SIZE


def test_one_day_of_each_symbol_brings_nothing_else() -> None:
    years = [f"data/symbol={letter}/year=2024" for letter in "ABCDE"]
    bucket = Bucket([path for year in years for path in days(0, 20, year)])
    reader = bucket.reader()

    for file in bucket.files[::20]:
        reader.read(file)

    assert (bucket.requests, bucket.store.bytes_read, bucket.listings) == (5, 5 * SIZE, 0)


def test_what_was_read_is_not_read_again_while_there_is_room_for_it() -> None:
    bucket = Bucket(days(0, 1), days(1, 2), days(2, 3))
    one, other, third = bucket.files
    reader = bucket.reader(kept_bytes=2 * SIZE)

    for file in (one, other, one, third, one):
        assert reader.read(file) == content(file.path)
    assert bucket.requests == 3

    reader.read(other)  # the one that was not read for the longest time had left
    assert bucket.requests == 4


def test_several_threads_wait_for_one_request() -> None:
    bucket = Bucket(days(0, 40))

    class Slow(InMemoryObjectStore):
        def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
            sleep(0.01)
            return super().get(key, offset, size)

    slow = Slow()
    slow.objects, bucket.store = bucket.store.objects, slow
    reader = bucket.reader()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(reader.read, bucket.files))

    assert found == [content(file.path) for file in bucket.files]
    assert bucket.requests == 2  # that of the first one, and what is beside the second one


def test_what_lies_before_is_read_as_well() -> None:
    bucket = Bucket(days(0, 40))
    reader = bucket.reader()

    assert [reader.read(file) for file in reversed(bucket.files)] == [content(f.path) for f in reversed(bucket.files)]

    assert (bucket.requests, bucket.store.bytes_read) == (2, 40 * SIZE)


def test_no_more_is_read_ahead_than_is_wanted() -> None:
    bucket = Bucket(days(0, 40))
    reader = bucket.reader(ahead_bytes=10 * SIZE)

    for file in bucket.files:
        reader.read(file)

    assert bucket.requests == 1 + 4


def test_what_lies_far_behind_is_read_by_itself() -> None:
    bucket = Bucket(days(0, 3))
    far = PlacedFile(days(3, 4)[0], "objects/0", 1_000_000, SIZE, 1)
    bucket.store.objects["objects/0"] += bytes(1_000_000 - 3 * SIZE) + content(far.path)
    bucket.files.append(far)
    reader = bucket.reader()

    assert [reader.read(file) for file in bucket.files][-1] == content(far.path)

    assert (bucket.requests, bucket.store.bytes_read) == (3, 4 * SIZE)


def test_a_text_file_is_in_the_catalog() -> None:
    bucket = Bucket()

    assert bucket.reader().read(PlacedFile.inline("revisions/known_since.csv", b"text", 1)) == b"text"
    assert bucket.reader().read(PlacedFile.inline("data/empty", b"", 1)) == b""
    assert bucket.requests == 0


def test_an_object_that_is_gone_or_too_short_is_an_error_of_the_file() -> None:
    bucket = Bucket(days(0, 3))
    bucket.store.objects["objects/0"] = bucket.store.objects["objects/0"][: 2 * SIZE + 50]
    reader = bucket.reader()

    assert reader.read(bucket.files[0]) == content(bucket.files[0].path)
    assert reader.read(bucket.files[1]) == content(bucket.files[1].path)
    with pytest.raises(ObjectLostError, match="objects/0 ends before the end of"):
        reader.read(bucket.files[2])
    with pytest.raises(ObjectLostError):
        reader.read(PlacedFile("data/gone", "objects/gone", 0, 1, 1))
