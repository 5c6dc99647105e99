from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.file_inventory import FileInventory
from tests.support.builders import bar, day
from tests.support.store_on_disk import StoreOnDisk

DATES = ("2023-12-29", "2024-01-02", "2024-01-31", "2024-02-01")


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path)
    store.keep(*((day("AAPL", date), [bar(f"{date}T15:00:00Z")]) for date in DATES))
    return store


def sizes(store: StoreOnDisk, first: str, last: str, symbol: str = "AAPL") -> dict[str, int]:
    found = FileInventory(store.layout).sizes(Symbol(symbol), TradingDate.parse(first), TradingDate.parse(last))
    return {str(date): size for date, size in found.items()}


def _on_disk(store: StoreOnDisk, *dates: str) -> dict[str, int]:
    return {date: store.path(day("AAPL", date)).stat().st_size for date in dates}


def test_every_stored_day_is_there_with_its_size(store: StoreOnDisk) -> None:
    assert sizes(store, "2023-12-01", "2024-12-31") == _on_disk(store, *DATES)


def test_both_dates_are_inclusive(store: StoreOnDisk) -> None:
    assert sizes(store, "2024-01-02", "2024-01-31") == _on_disk(store, "2024-01-02", "2024-01-31")
    assert sizes(store, "2024-01-03", "2024-01-30") == {}


def test_what_the_store_lacks_is_not_there(store: StoreOnDisk, tmp_path: Path) -> None:
    assert sizes(store, "2023-12-01", "2024-12-31", "MSFT") == {}
    assert sizes(StoreOnDisk(tmp_path / "nowhere"), "2023-12-01", "2024-12-31") == {}
    assert sizes(store, "2024-02-01", "2024-01-01") == {}


def test_the_size_is_that_of_the_file_as_it_is_now(store: StoreOnDisk) -> None:
    store.path(day("AAPL", "2024-01-02")).write_bytes(b"")

    assert sizes(store, "2024-01-02", "2024-01-02") == {"2024-01-02": 0}


def test_copies_and_temporary_files_are_not_stored_days(store: StoreOnDisk) -> None:
    folder = store.path(day("AAPL", "2024-01-02")).parent
    names = ("day=02 (copy).parquet", "day=03 (copy).parquet", "day=xx.parquet", ".day=04.parquet.1-1.tmp")
    for name in names:
        (folder / name).write_bytes(b"other")

    assert sizes(store, "2024-01-01", "2024-01-31") == _on_disk(store, "2024-01-02", "2024-01-31")


def test_a_file_in_the_place_of_a_folder_is_an_error_that_names_it(store: StoreOnDisk) -> None:
    (store.layout.data / "symbol=MSFT" / "year=2024").mkdir(parents=True)
    (store.layout.data / "symbol=MSFT" / "year=2024" / "month=01").write_bytes(b"in the way")

    with pytest.raises(StorageError, match="symbol=MSFT/year=2024/month=01"):
        sizes(store, "2024-01-01", "2024-01-31", "MSFT")
