from __future__ import annotations

import io
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, PlacedFile
from marketpipe.storage.infrastructure.objects.object_store import StoredObject
from marketpipe.storage.infrastructure.objects.packs import (
    CONTAINER,
    PARQUET,
    NewPackedFile,
    PackDamaged,
    files_of,
    index_at_the_end,
    index_of,
    new_pack,
)
from tests.support.examples import examples
from tests.support.in_memory_object_store import InMemoryObjectStore

NOTHING_ELSE = CatalogChange()


def table_bytes(rows: int, first: int = 0, name: str = "close") -> bytes:
    """Large ones, for the number of rows: of small files no table is made."""
    out, letters = io.BytesIO(), b"".join(sha256(bytes([number])).hexdigest().encode() for number in range(70))
    pq.write_table(pa.table({name: [float(first + row) for row in range(rows)], "note": [letters] * rows}), out)
    return out.getvalue()


paths = st.text(st.sampled_from("abé/=.% "), min_size=1, max_size=12)
contents = st.one_of(st.binary(max_size=40), st.builds(table_bytes, st.integers(1, 3), st.integers(0, 9)))
moments = st.integers(0, 2**62)
packed = st.lists(st.builds(NewPackedFile, paths, contents, moments), max_size=6)
appended = st.builds(AppendedLines, paths, st.binary(max_size=9), st.binary(max_size=9), moments)
changed = st.builds(
    CatalogChange,
    placed=st.lists(st.builds(PlacedFile.inline, paths, st.binary(max_size=9), moments), max_size=2),
    removed=st.lists(paths, max_size=2),
    second_names=st.dictionaries(paths, paths, max_size=2),
    appended=st.lists(
        st.builds(AppendedLines, paths, st.binary(max_size=9), st.binary(max_size=9), moments), max_size=2
    ),
    times=st.dictionaries(paths, moments, max_size=2),
)


@given(files=packed, changes=changed, moment=moments, job=st.sampled_from(["", "job-é"]))
@examples(400)
def test_a_pack_gives_back_what_was_put_into_it(
    files: list[NewPackedFile], changes: CatalogChange, moment: int, job: str
) -> None:
    pack = new_pack(files, changes, moment, job)

    assert [*files_of(pack.content)] == files
    found = index_at_the_end(pack.content, len(pack.content))
    assert found == pack.index
    assert (found.changes, found.moment_ns, found.job) == (changes, moment, job)
    for file, put in zip(found.files, files, strict=True):
        assert pack.content[file.offset : file.offset + file.size] == put.content


@given(files=packed, data=st.data())
@examples(400)
def test_a_changed_byte_or_a_missing_end_is_noticed(files: list[NewPackedFile], data: st.DataObject) -> None:
    pack = new_pack(files, NOTHING_ELSE, 1)
    at = data.draw(st.integers(0, len(pack.content) - 1))
    changed_byte = bytearray(pack.content)
    changed_byte[at] ^= 1 << data.draw(st.integers(0, 7))

    for damaged in (bytes(changed_byte), pack.content[:at], pack.content[at + 1 :]):
        try:
            assert [*files_of(damaged)] == files
        except PackDamaged:
            continue
        # Only in the part of a Parquet footer that is not the index, which a reader of Parquet notices, or in bits of
        # a compressed index that mean nothing: what is read is right all the same.
        assert at >= sum(len(file.content) for file in files)


def test_files_of_one_table_are_one_parquet_file() -> None:
    files = [NewPackedFile(f"data/day={n}", table_bytes(3, 10 * n), n) for n in range(40)]

    pack = new_pack(files, NOTHING_ELSE, 1)

    assert pack.suffix == PARQUET
    assert pack.key("0a") == "objects/0a.parquet"
    read = pq.read_table(pa.BufferReader(pack.content))
    assert read.column("close").to_pylist() == [10 * n + row for n in range(40) for row in range(3)]


@pytest.mark.parametrize(
    "others",
    [[b"text"], [table_bytes(3, name="open")], [b"PAR1" * 2000], [table_bytes(0)] * 9, []],
    ids=["another kind", "other columns", "a damaged one", "small ones", "none"],
)
def test_other_files_are_a_container(others: list[bytes]) -> None:
    contents = [table_bytes(3), *others] if others else []
    files = [NewPackedFile(str(n), content, n) for n, content in enumerate(contents)]

    pack = new_pack(files, CatalogChange(removed=["a"]), 1)

    assert (pack.suffix, pack.key("0a")) == (CONTAINER, "objects/0a.pack")
    assert [*files_of(pack.content)] == files


def test_the_catalog_changes_by_a_pack_as_its_index_says() -> None:
    lines = AppendedLines("l", b"x\n", b"", 1)
    changes = CatalogChange([PlacedFile.inline("i", b"x", 1)], ["r"], {"a": "b"}, [lines], {"t": 2})
    pack = new_pack([NewPackedFile("one", b"12", 5), NewPackedFile("two", b"345", 6)], changes, 1)

    change = pack.index.change_of("objects/0a.pack")

    assert change.placed == [
        PlacedFile("one", "objects/0a.pack", 0, 2, 5),
        PlacedFile("two", "objects/0a.pack", 2, 3, 6),
        PlacedFile.inline("i", b"x", 1),
    ]
    assert (change.removed, change.second_names) == (["r"], {"a": "b"})
    assert (change.appended, change.times) == ([lines], {"t": 2})


@pytest.mark.parametrize(("count", "requests"), [(50, 1), (6000, 2)])
def test_an_index_is_read_from_the_end_with_one_request_unless_it_is_very_long(count: int, requests: int) -> None:
    store, files = InMemoryObjectStore(), [NewPackedFile(f"a/{n}", str(n).encode(), n) for n in range(count)]
    pack = new_pack(files, NOTHING_ELSE, 1)
    store.put_new(pack.key("0a"), pack.content)

    assert index_of(store, StoredObject(pack.key("0a"), len(pack.content), 1)) == pack.index
    assert store.requests["get"] == requests


@pytest.mark.parametrize("content", [b"", b"x", b"PAR1", b"MPK1", b"\xff\xff\xff\xffMPK1", b"\x00\x00\x00\x00PAR1"])
def test_what_is_no_pack_is_an_error_that_names_the_object(content: bytes) -> None:
    store = InMemoryObjectStore()
    store.put_new("objects/0a.pack", content)

    with pytest.raises(StorageError, match=r"objects/0a\.pack is damaged"):
        index_of(store, StoredObject("objects/0a.pack", len(content), 1))
