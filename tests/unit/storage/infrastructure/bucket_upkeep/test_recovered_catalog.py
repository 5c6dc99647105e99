"""A catalog that is made of objects is the one that was lost, whatever was killed in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, PlacedFile
from marketpipe.storage.infrastructure.bucket_upkeep.catalog_snapshots import entry_of, written_snapshot
from marketpipe.storage.infrastructure.bucket_upkeep.recovered_catalog import RecoveredCatalog
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile, new_pack
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore

SECOND = 10**9
DAY, FORMER, LINES = "data/symbol=A/day.parquet", "revisions/symbol=A/1.parquet", "revisions/symbol=A/known.csv"


class Bucket:
    """A bucket whose writers put an object, and may be killed before they change the catalog.

    ``ahead`` is by how many seconds the clock of the next writer is.
    """

    def __init__(self) -> None:
        self.store, self.catalog, self._numbers = InMemoryObjectStore(), InMemoryFileCatalog(), count(1)
        self.ahead = 0

    def write(self, *contents: bytes, change: CatalogChange | None = None, killed: bool = False, **more: object) -> str:
        number, change = next(self._numbers), change or CatalogChange()
        self.store.now_ns += SECOND
        moment = self.store.now_ns + self.ahead * SECOND
        kept = [self._found(path).at(name) for path, name in change.second_names.items()]
        files = [NewPackedFile(DAY, content, moment) for content in contents]
        pack = new_pack(files, change, moment, kept=kept, **more)  # type: ignore[arg-type]
        key = pack.key(f"{number:04d}")
        self.store.put_new(key, pack.content)
        if not killed:
            self.catalog.change(pack.index.change_of(key))
        return key

    def correct(self, content: bytes, *, killed: bool = False) -> str:
        lines = AppendedLines(LINES, b"A " + content + b"\n", b"head\n", 5)
        return self.write(content, change=CatalogChange(second_names={DAY: FORMER}, appended=[lines]), killed=killed)

    def snapshot(self, *covered: str) -> None:
        """A part of what ``gc`` does: the catalog knows the snapshot, which is in itself."""
        self.catalog.change(CatalogChange(placed=[entry_of("catalog/1")]))
        self.store.put_new("catalog/1", written_snapshot(self.catalog, covered))

    def recovered(self) -> dict[str, PlacedFile]:
        found, catalog = RecoveredCatalog(self.store), InMemoryFileCatalog()
        found.read(lambda workers, _: ThreadPoolExecutor(workers))
        found.write(catalog)
        return {file.path: file for file in catalog.below("")}

    def known(self) -> dict[str, PlacedFile]:
        return {file.path: file for file in self.catalog.below("")}

    def _found(self, path: str) -> PlacedFile:
        file = self.catalog.find(path)
        assert file is not None
        return file


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def test_files_second_names_lines_and_removals_come_again(bucket: Bucket) -> None:
    bucket.write(b"one")
    bucket.correct(b"two")
    bucket.write(change=CatalogChange(removed=[FORMER]))
    bucket.correct(b"three")

    assert bucket.recovered() == bucket.known()
    assert bucket.known()[LINES].content == b"head\nA two\nA three\n"


@pytest.mark.parametrize("covers", [False, True])
def test_a_snapshot_and_the_packs_since_make_the_same(bucket: Bucket, covers: bool) -> None:
    """Those that are not covered are applied again, although the snapshot has them."""
    first, second = bucket.write(b"one"), bucket.correct(b"two")
    bucket.snapshot(*([first, second] if covers else []))
    bucket.correct(b"three")

    assert bucket.recovered() == bucket.known()


def test_all_snapshots_of_the_bucket_are_known_then(bucket: Bucket) -> None:
    bucket.snapshot()
    bucket.store.put_new("catalog/0-of-another-state", b"")

    assert {path for path in bucket.recovered() if path.startswith("snapshots")} == {
        "snapshots/1",
        "snapshots/0-of-another-state",
    }


def test_what_a_snapshot_covers_may_be_gone(bucket: Bucket) -> None:
    first, removal = bucket.write(b"one"), bucket.write(change=CatalogChange(removed=[DAY]))
    bucket.snapshot(first, removal)
    bucket.store.delete([removal])

    assert {*bucket.recovered()} == {"snapshots/1"}


def test_a_killed_write_is_adopted_if_nothing_is_newer(bucket: Bucket) -> None:
    first = bucket.write(b"one")
    orphan = bucket.correct(b"two", killed=True)

    found = bucket.recovered()

    assert found[DAY].object == orphan
    assert evolve(found[FORMER], path=DAY) == bucket.known()[DAY]
    assert found[FORMER].object == first


def test_the_former_version_is_never_that_of_a_killed_write(bucket: Bucket) -> None:
    bucket.write(b"one")
    bucket.correct(b"lost", killed=True)
    bucket.correct(b"two")

    found = bucket.recovered()

    assert {found[path] for path in (DAY, FORMER)} == {bucket.known()[path] for path in (DAY, FORMER)}


def test_a_part_of_a_group_that_was_never_whole_is_left_out(bucket: Bucket) -> None:
    bucket.write(b"one")
    part = bucket.write(b"two", killed=True, is_part=True)
    assert bucket.recovered() == bucket.known()

    bucket.write(killed=True, parts=[part])
    assert bucket.recovered()[DAY].object == part


@pytest.mark.parametrize("clocks", [(300, 0, -300), (-300, 0, 300), (0, -3000, 3000)])
def test_the_clocks_of_the_writers_do_not_matter(bucket: Bucket, clocks: tuple[int, ...]) -> None:
    writes = [
        lambda: bucket.write(b"one"),
        lambda: bucket.correct(b"two"),
        lambda: bucket.write(change=CatalogChange(removed=[DAY])),
        lambda: bucket.write(b"three"),
        lambda: bucket.correct(b"four"),
    ]
    for write, bucket.ahead in zip(writes, clocks * 2, strict=False):
        write()
        assert bucket.recovered() == bucket.known()


def test_of_packs_that_came_in_the_same_second_the_clock_of_their_writer_counts(bucket: Bucket) -> None:
    bucket.write(b"one")
    bucket.correct(b"two")
    bucket.correct(b"three")
    bucket.store.put_at = dict.fromkeys(bucket.store.put_at, bucket.store.now_ns)

    assert bucket.recovered() == bucket.known()


def test_an_object_that_was_restored_keeps_its_place(bucket: Bucket) -> None:
    """It came later than the correction of what it has."""
    first, _ = bucket.write(b"one"), bucket.correct(b"two")
    bucket.store.put_at[first] += 2 * 24 * 3600 * SECOND

    assert bucket.recovered() == bucket.known()


def test_a_snapshot_that_is_damaged_is_named(bucket: Bucket) -> None:
    bucket.store.put_new("catalog/1", b"nothing")

    with pytest.raises(StorageError, match="the snapshot catalog/1 cannot be read"):
        bucket.recovered()
