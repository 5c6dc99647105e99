from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import DatasetMismatchError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import IDENTITY, StoreOnDisk, tree

AAPL = (day("AAPL", "2024-01-02"), [bar("2024-01-02T15:00:00Z")])
MSFT = (day("MSFT", "2024-01-03"), [bar("2024-01-03T15:00:00Z")])


def _identity(root: Path) -> StoredIdentity:
    return StoredIdentity(StoreLayout(root / "data", root / "aggregates", root / "quarantine", root / "revisions"))


def test_the_files_say_which_dataset_lives_there(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path).keep(AAPL)

    assert _identity(tmp_path).read() == IDENTITY
    _identity(tmp_path).check(IDENTITY)


def test_a_first_file_of_another_dataset_is_seen_by_what_has_read_the_former_one(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path).keep(AAPL)
    found = _identity(tmp_path)
    assert found.read() == IDENTITY
    other = evolve(IDENTITY, feed="iex")
    StoreOnDisk(tmp_path / "other", identity=other).keep(AAPL)
    (path,), (file,) = ((tmp_path / root).rglob("day=*.parquet") for root in ("data", "other/data"))
    file.rename(path)

    assert found.read() == other


def test_an_empty_folder_has_no_dataset_and_a_check_changes_nothing(tmp_path: Path) -> None:
    assert _identity(tmp_path).read() is None
    _identity(tmp_path).check(IDENTITY)
    assert list(tmp_path.iterdir()) == []


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
    StoreOnDisk(tmp_path).keep(AAPL)

    with pytest.raises(DatasetMismatchError) as refused:
        _identity(tmp_path).check(other)
    for words in (str(IDENTITY), str(other), str(tmp_path / "data")):
        assert words in str(refused.value)


def test_bars_of_another_dataset_are_never_mixed_in(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path).keep(AAPL)
    before = tree(tmp_path)

    with pytest.raises(DatasetMismatchError):
        StoreOnDisk(tmp_path, evolve(IDENTITY, feed="iex")).keep((AAPL[0], [bar("2024-01-02T16:00:00Z")]))

    assert tree(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all"])
def test_a_damaged_file_does_not_hide_what_the_others_say(tmp_path: Path, content: bytes) -> None:
    StoreOnDisk(tmp_path).keep(AAPL, MSFT)
    for damaged, other in ((AAPL, MSFT), (MSFT, AAPL)):
        kept = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.parquet")}
        next((tmp_path / "data" / f"symbol={damaged[0].symbol}").rglob("*.parquet")).write_bytes(content)
        assert _identity(tmp_path).read() == IDENTITY, other
        for path, whole in kept.items():
            path.write_bytes(whole)


@pytest.mark.parametrize("folder", ["symbol=aapl", "symbol=A'B", "symbol=\N{PILE OF POO}", os.fsdecode(b"symbol=\xff")])
def test_a_folder_that_bears_no_symbol_does_not_speak_for_the_store(tmp_path: Path, folder: str) -> None:
    StoreOnDisk(tmp_path, evolve(IDENTITY, feed="iex")).keep(AAPL)
    (tmp_path / "data" / "symbol=AAPL").rename(tmp_path / "data" / folder)

    assert _identity(tmp_path).read() is None
    assert _identity(tmp_path).prevailing() is None


def test_no_file_is_read_where_the_record_tells(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path).keep(AAPL)
    (path,) = (tmp_path / "data").rglob("day=*.parquet")
    path.write_bytes(b"not read")
    layout = _identity(tmp_path)._layout
    known = StoredIdentity(layout, recorded=lambda: IDENTITY)

    assert known.read() == IDENTITY
    known.check(IDENTITY)
    assert StoredIdentity(layout).read() is None


def test_a_record_of_another_dataset_is_held_against_the_files(tmp_path: Path) -> None:
    layout, other = _identity(tmp_path)._layout, evolve(IDENTITY, feed="iex")
    StoredIdentity(layout, recorded=lambda: other).check(IDENTITY)  # nothing is stored of it

    StoreOnDisk(tmp_path, identity=other).keep(AAPL)
    with pytest.raises(DatasetMismatchError):
        StoredIdentity(layout, recorded=lambda: other).check(IDENTITY)
