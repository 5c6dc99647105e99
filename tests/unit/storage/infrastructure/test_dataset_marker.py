from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StorageError
from marketpipe.storage.infrastructure.dataset_marker import DatasetMarker
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from tests.support.builders import bar, day
from tests.support.store_on_disk import IDENTITY, StoreOnDisk, tree

AAPL = (day("AAPL", "2024-01-02"), [bar("2024-01-02T15:00:00Z")])


def _marker(root: Path) -> DatasetMarker:
    return DatasetMarker(root, DurableFiles())


def test_a_claimed_folder_says_which_dataset_lives_there(tmp_path: Path) -> None:
    _marker(tmp_path / "data").claim(IDENTITY)

    assert _marker(tmp_path / "data").read() == IDENTITY
    assert json.loads((tmp_path / "data" / "_dataset.json").read_text()) == {
        "provider": "alpaca",
        "feed": "sip",
        "adjustment": "raw",
    }


def test_an_unmarked_folder_is_free_and_a_look_does_not_mark_it(tmp_path: Path) -> None:
    marker = _marker(tmp_path / "data")

    assert marker.read() is None
    marker.check(IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_the_same_dataset_may_be_claimed_again_without_a_write(tmp_path: Path) -> None:
    _marker(tmp_path).claim(IDENTITY)
    before = (tmp_path / "_dataset.json").stat()

    _marker(tmp_path).claim(IDENTITY)

    after = (tmp_path / "_dataset.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "other",
    [
        evolve(IDENTITY, provider="synthetic"),
        evolve(IDENTITY, feed="iex"),
        evolve(IDENTITY, adjustment="split"),
    ],
    ids=["provider", "feed", "adjustment"],
)
def test_another_dataset_is_refused_with_both_named(tmp_path: Path, other: DatasetIdentity) -> None:
    _marker(tmp_path).claim(IDENTITY)

    for refuse in (_marker(tmp_path).claim, _marker(tmp_path).check):
        with pytest.raises(DatasetMismatchError) as refused:
            refuse(other)
        assert str(IDENTITY) in str(refused.value)
        assert str(other) in str(refused.value)
        assert str(tmp_path) in str(refused.value)
    assert _marker(tmp_path).read() == IDENTITY


def test_bars_of_another_dataset_are_never_mixed_in(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path).keep(AAPL)
    before = tree(tmp_path)

    with pytest.raises(DatasetMismatchError):
        StoreOnDisk(tmp_path, evolve(IDENTITY, feed="iex")).keep((AAPL[0], [bar("2024-01-02T16:00:00Z")]))

    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"7", b"null", b'{"provider": "alpaca"}', b'{"other": 1}', b"\xff\xfe"],
)
def test_an_unreadable_marker_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "_dataset.json").write_bytes(content)

    for ask in (_marker(tmp_path).read, lambda: _marker(tmp_path).claim(IDENTITY)):
        with pytest.raises(StorageError, match=r"_dataset\.json cannot be read"):
            ask()
    assert (tmp_path / "_dataset.json").read_bytes() == content


def test_a_marker_that_is_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "_dataset.json").mkdir()

    with pytest.raises(StorageError, match=r"_dataset\.json cannot be read"):
        _marker(tmp_path).read()
