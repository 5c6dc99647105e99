from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.reading.bar_loader import ParquetStoredBars
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
DATES = ("2023-12-29", "2024-01-02", "2024-01-03", "2024-02-01")


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path)
    store.keep(*((day("MSFT", date), [bar(f"{date}T15:00:00Z", 50.0)]) for date in DATES[:1]))
    store.keep(*((day("AAPL", date), [bar(f"{date}T15:00:00Z"), bar(f"{date}T15:01:00Z")]) for date in DATES))
    return store


def _stored_days(store: StoreOnDisk, symbols: list[Symbol], first: str, last: str) -> list[SymbolDay]:
    found = ParquetStoredBars(store.layout).stored_days(symbols, TradingDate.parse(first), TradingDate.parse(last))
    return list(found)


def test_symbols_are_those_with_a_folder(store: StoreOnDisk) -> None:
    assert ParquetStoredBars(store.layout).symbols() == (AAPL, MSFT)


def test_stored_days_ascend_by_symbol_then_date(store: StoreOnDisk) -> None:
    assert _stored_days(store, [MSFT, AAPL], "1900-01-01", "9000-01-01") == [
        *(day("AAPL", date) for date in DATES),
        day("MSFT", "2023-12-29"),
    ]


def test_both_dates_are_inclusive(store: StoreOnDisk) -> None:
    assert _stored_days(store, [AAPL], "2024-01-02", "2024-01-03") == [
        day("AAPL", "2024-01-02"),
        day("AAPL", "2024-01-03"),
    ]
    assert _stored_days(store, [AAPL, Symbol("NONE")], "2024-01-04", "2024-01-31") == []


def test_bars_come_back_with_the_slices_of_their_symbol_days(store: StoreOnDisk) -> None:
    days = [day("MSFT", "2023-12-29"), day("AAPL", "2024-01-02")]

    found = ParquetStoredBars(store.layout).read(days)

    assert found.slices == (SymbolDaySlice(days[0], 0, 1), SymbolDaySlice(days[1], 1, 2))
    assert found.num_rows == 3
    assert found.table["close"].to_pylist() == [50.5, 100.5, 100.5]


def test_a_damaged_file_is_an_error_that_names_it(store: StoreOnDisk) -> None:
    path = store.path(day("AAPL", "2024-01-02"))
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(PartitionUnreadableError, match=r"symbol=AAPL/year=2024/month=01/day=02\.parquet is damaged"):
        ParquetStoredBars(store.layout).read([day("AAPL", "2024-01-03"), day("AAPL", "2024-01-02")])
