from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.infrastructure.inventory.store_walk import FoundFile, StoreWalk
from marketpipe.storage.infrastructure.publishing.temporary_files import temporary_name
from marketpipe.storage.infrastructure.store_layout import StoreLayout

AAPL = Symbol("AAPL")
OF_A_STORE = (
    "data/symbol=AAPL/year=2024/month=01/day=02.parquet",
    "aggregates/timeframe=5m/symbol=AAPL/year=2024/month=02.parquet",
    "aggregates/timeframe=1d/symbol=AAPL/year=2024.parquet",
    "quarantine/symbol=AAPL/year=2024/month=01/day=02.parquet",
    "revisions/symbol=AAPL/year=2024/month=01/day=02.20240103T213000.123456Z.parquet",
    "revisions/symbol=AAPL/year=2024/known_since.csv",
)
IN_FOLDERS_OF_A_SYMBOL = (
    "data/symbol=AAPL/notes.txt",
    "data/symbol=AAPL/year=2024/month=01/day=2.parquet",
    "data/symbol=AAPL/year=2024/month=02/day=30.parquet",
    "data/symbol=AAPL/year=2024/month=13/day=01.parquet",
    "data/symbol=AAPL/year=2024/month=01/day=02.20240103T213000.123456Z.parquet",
    "aggregates/timeframe=5m/symbol=AAPL/year=2024.parquet",
    "aggregates/timeframe=1d/symbol=AAPL/year=2024/month=02.parquet",
    "aggregates/timeframe=5m/symbol=AAPL/year=2024/month=13.parquet",
    "revisions/symbol=AAPL/year=2024/month=01/day=02.parquet",
    "revisions/symbol=AAPL/year=2024/month=01/day=02.yesterday.parquet",
    "revisions/symbol=AAPL/year=0000/known_since.csv",
    "revisions/symbol=AAPL/year=2024/month=01/known_since.csv",
)
OF_NOBODY = (
    "data/notes.txt",
    "data/symbol=aapl/year=2024/month=01/day=02.parquet",
    "aggregates/timeframe=7m/symbol=AAPL/year=2024/month=02.parquet",
    "aggregates/timeframe=5m/notes.txt",
    "aggregates/symbol=AAPL/year=2024.parquet",
)


@pytest.fixture
def walk(tmp_path: Path) -> StoreWalk:
    return StoreWalk(StoreLayout(*(tmp_path / name for name in ("data", "aggregates", "quarantine", "revisions"))))


def lay(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_every_file_of_a_store_is_found_with_what_its_metadata_must_contain(tmp_path: Path, walk: StoreWalk) -> None:
    lay(tmp_path, *OF_A_STORE)

    found = [file for file in walk.of_symbol(AAPL) if isinstance(file, FoundFile)]

    assert sorted(file.path for file in found) == sorted(OF_A_STORE)
    assert {file.on_disk for file in found} == {str(tmp_path / path) for path in OF_A_STORE}
    expected = {file.path: (str(file.timeframe), file.period, str(file.first), str(file.last)) for file in found}
    assert expected[OF_A_STORE[0]] == ("1m", "2024-01-02", "2024-01-02", "2024-01-02")
    assert expected[OF_A_STORE[1]] == ("5m", "2024-02", "2024-02-01", "2024-02-29")
    assert expected[OF_A_STORE[2]] == expected[OF_A_STORE[5]] == ("1d", "2024", "2024-01-01", "2024-12-31")
    assert [file.path for file in found if file.is_history] == [OF_A_STORE[5]]
    assert (walk.symbols(), walk.strays()) == (frozenset({AAPL}), [])


@pytest.mark.parametrize("path", IN_FOLDERS_OF_A_SYMBOL)
def test_a_file_that_is_named_otherwise_is_a_stray(tmp_path: Path, walk: StoreWalk, path: str) -> None:
    lay(tmp_path, path)

    assert list(walk.of_symbol(AAPL)) == [path]
    assert walk.strays() == []


@pytest.mark.parametrize("path", OF_NOBODY)
def test_a_file_beside_the_symbols_is_a_stray(tmp_path: Path, walk: StoreWalk, path: str) -> None:
    lay(tmp_path, *OF_A_STORE, path)

    assert walk.strays() == [path]
    assert len(list(walk.of_symbol(AAPL))) == len(OF_A_STORE)


def test_what_is_being_written_at_this_moment_is_no_file_yet(tmp_path: Path, walk: StoreWalk) -> None:
    lay(tmp_path, f"data/symbol=AAPL/year=2024/month=01/{temporary_name('day=02.parquet')}")

    assert (list(walk.of_symbol(AAPL)), walk.strays()) == ([], [])


def test_a_folder_in_the_place_of_a_history_is_found_and_that_of_a_version_index_is_not(
    tmp_path: Path, walk: StoreWalk
) -> None:
    lay(tmp_path, f"{OF_A_STORE[5]}/inside", "revisions/symbol=AAPL/known_since.csv/inside")

    assert [getattr(file, "path", file) for file in walk.of_symbol(AAPL)] == [OF_A_STORE[5]]


@pytest.mark.parametrize("put", [Path.touch, os.mkfifo, lambda path: path.symlink_to(path.name)])
@pytest.mark.parametrize("place", ["quarantine", "aggregates", "aggregates/timeframe=5m"])
def test_what_is_in_the_place_of_a_folder_is_a_stray_and_hides_nothing_beside_it(
    tmp_path: Path, walk: StoreWalk, place: str, put: Callable[[Path], object]
) -> None:
    beside = [path for path in OF_A_STORE if not path.startswith(place)]
    lay(tmp_path, *beside)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    put(tmp_path / place)

    assert (walk.strays(), walk.symbols()) == ([place], frozenset({AAPL}))
    assert sorted(getattr(file, "path", file) for file in walk.of_symbol(AAPL)) == sorted(beside)


def test_an_empty_store_has_nothing(walk: StoreWalk) -> None:
    assert (walk.symbols(), walk.strays(), list(walk.of_symbol(AAPL))) == (frozenset(), [], [])
