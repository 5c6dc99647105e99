from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import QueryError, StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

DAYS = [(day(symbol, "2024-01-02"), [bar("2024-01-02T15:00:00Z")]) for symbol in ("AAPL", "MSFT", "ZM")]


@pytest.mark.parametrize("damaged", ["AAPL", "MSFT", "ZM"])
def test_a_damaged_file_is_named_and_is_not_called_a_wrong_query(tmp_path: Path, damaged: str) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*DAYS)
    file = next((tmp_path / "data" / f"symbol={damaged}").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-8])
    query = store.query

    with pytest.raises(StorageError) as error:
        query.run("SELECT sum(volume) FROM bars")
    assert not isinstance(error.value, QueryError)
    assert file.name in str(error.value)
    assert f"symbol={damaged}" in str(error.value)


def test_what_does_not_need_the_damaged_file_still_answers(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*DAYS)
    next((tmp_path / "data" / "symbol=AAPL").rglob("*.parquet")).write_bytes(b"PAR1")
    query = store.query

    assert query.run("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    assert query.run("SHOW TABLES").num_rows == len(Timeframe)
    with pytest.raises(StorageError, match="damaged"):
        query.run("SELECT count(*) AS n FROM bars_1d")  # made of the minutes


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, put: Callable[[Path], object]) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*DAYS)
    file = next((tmp_path / "data" / "symbol=MSFT").rglob("*.parquet"))
    file.unlink()
    put(file)

    with pytest.raises(StorageError, match=rf"{file} is not a file; move away"):
        store.query.run("SELECT count(*) FROM bars")
