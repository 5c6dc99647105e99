from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
from marketpipe.storage.infrastructure.official.daily_bars import DAY_SCHEMA
from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk
from tests.support.system_calls import SystemCalls

LATE = bar("2024-01-04T00:59:00Z", 30.0, trade_count=None, vwap=None)
"""19:59 in New York on 3 January: the next day in UTC."""

BARS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("AAPL", "2024-01-02"): [bar("2024-01-02T14:30:00Z", 10.0), bar("2024-01-02T14:31:00Z", 11.0)],
    ("AAPL", "2024-01-03"): [bar("2024-01-03T14:30:00Z", 20.0), LATE],
    ("AAPL", "2024-02-01"): [bar("2024-02-01T14:30:00Z", 40.0)],
    ("MSFT", "2024-01-03"): [bar("2024-01-03T14:30:00Z", 50.0)],
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path_factory.mktemp("filled"))
    store.keep(*((day(symbol, date), rows) for (symbol, date), rows in BARS.items()))
    for symbol in ("AAPL", "MSFT"):
        store.refresh(symbol, [Timeframe.HOUR_1, Timeframe.DAY_1])
    return store


@pytest.fixture
def store(filled: StoreOnDisk, tmp_path: Path) -> StoreOnDisk:
    """A copy, which may be damaged."""
    shutil.copytree(filled.root, tmp_path, dirs_exist_ok=True)
    return StoreOnDisk(tmp_path)


def unneeded() -> BarAggregator:
    raise AssertionError("what lies there needs no aggregating")


def load(
    layout: StoreLayout, symbols: str, first: str, last: str, timeframe: Timeframe = Timeframe.MINUTE_1
) -> pa.Table:
    """``symbols`` are separated by spaces."""
    chosen = [Symbol(symbol) for symbol in symbols.split()]
    return BarLoader(layout, unneeded).load(chosen, TradingDate.parse(first), TradingDate.parse(last), timeframe)


def _expected(*keys: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"symbol": symbol, **row} for symbol, date in keys for row in BARS[symbol, date]]


def test_bars_come_back_exactly_as_they_were_stored(filled: StoreOnDisk) -> None:
    found = load(filled.layout, "AAPL", "2024-01-01", "2024-12-31")

    assert found.to_pylist() == _expected(("AAPL", "2024-01-02"), ("AAPL", "2024-01-03"), ("AAPL", "2024-02-01"))
    assert [(field.name, str(field.type)) for field in found.schema] == [
        ("symbol", "string"),
        ("timestamp", "timestamp[us, tz=UTC]"),
        *((name, "double") for name in ("open", "high", "low", "close", "volume")),
        ("trade_count", "int64"),
        ("vwap", "double"),
    ]


def test_both_dates_are_inclusive_trading_dates(filled: StoreOnDisk) -> None:
    found = load(filled.layout, "AAPL", "2024-01-03", "2024-01-03")

    assert found.to_pylist() == _expected(("AAPL", "2024-01-03"))


def test_days_that_are_not_stored_are_simply_absent(filled: StoreOnDisk) -> None:
    assert load(filled.layout, "AAPL NONE", "2024-01-04", "2024-02-29").to_pylist() == _expected(("AAPL", "2024-02-01"))


def test_many_symbols_come_in_the_order_given_then_by_time(filled: StoreOnDisk) -> None:
    found = load(filled.layout, "MSFT AAPL", "2024-01-03", "2024-01-31")

    assert found.to_pylist() == _expected(("MSFT", "2024-01-03"), ("AAPL", "2024-01-03"))


@pytest.mark.parametrize("timeframe", list(Timeframe))
@pytest.mark.parametrize(
    ("symbols", "first", "last"),
    [("AAPL", "2020-01-01", "2020-01-31"), ("", "2024-01-01", "2024-12-31"), ("AAPL", "2024-01-03", "2024-01-02")],
    ids=["nothing stored", "no symbols", "the last before the first"],
)
def test_an_empty_result_has_the_columns(
    filled: StoreOnDisk, timeframe: Timeframe, symbols: str, first: str, last: str
) -> None:
    found = load(filled.layout, symbols, first, last, timeframe)

    assert found.num_rows == 0
    bars = load(filled.layout, "AAPL", "2024-01-01", "2024-12-31").schema
    assert found.schema.equals(bars if timeframe.is_intraday else bars.append(DAY_SCHEMA.field("source")))


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    layout = StoreOnDisk(tmp_path / "nowhere").layout

    assert load(layout, "AAPL", "2024-01-01", "2024-12-31").num_rows == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "last", "closes"),
    [
        ("2024-01-02", "2024-01-02", [11.5]),
        ("2024-01-03", "2024-02-01", [20.5, 40.5]),
        ("2024-01-01", "2024-12-31", [11.5, 20.5, 40.5]),
        ("2023-12-31", "2024-01-01", []),
    ],
)
def test_daily_bars_are_cut_to_the_dates(filled: StoreOnDisk, first: str, last: str, closes: list[float]) -> None:
    found = load(filled.layout, "AAPL", first, last, Timeframe.DAY_1)

    assert found["close"].to_pylist() == closes
    assert set(found["symbol"].to_pylist()) <= {"AAPL"}


def test_intraday_aggregates_are_cut_to_the_trading_dates(filled: StoreOnDisk) -> None:
    found = load(filled.layout, "AAPL MSFT", "2024-01-03", "2024-01-31", Timeframe.HOUR_1)

    times = [f"{moment:%m-%d %H:%M}" for moment in found["timestamp"].to_pylist()]
    assert list(zip(found["symbol"].to_pylist(), times, found["close"].to_pylist(), strict=True)) == [
        ("AAPL", "01-03 14:30", 20.5),
        ("AAPL", "01-04 00:00", 30.5),
        ("MSFT", "01-03 14:30", 50.5),
    ]


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_a_damaged_file_is_an_error_that_names_symbol_and_dates(store: StoreOnDisk, size: int) -> None:
    path = store.path(day("AAPL", "2024-01-03"))
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(PartitionUnreadableError, match="AAPL between 2024-01-01 and 2024-01-31 is damaged"):
        load(store.layout, "MSFT AAPL", "2024-01-01", "2024-01-31")
    assert load(store.layout, "MSFT AAPL", "2024-01-01", "2024-01-02").num_rows == 2


def test_no_folder_is_listed(filled: StoreOnDisk) -> None:
    load(filled.layout, "AAPL", "2024-01-01", "2024-12-31")

    with SystemCalls(filled.root) as seen:
        found = load(filled.layout, "AAPL", "2024-01-01", "2024-12-31")

    assert found.num_rows == 5
    assert [call.name for call in seen.calls] == []


def test_other_files_in_the_tree_are_never_opened(store: StoreOnDisk) -> None:
    path = store.path(day("AAPL", "2024-01-03"))
    path.with_name("day=03 (copy).parquet").write_bytes(b"not Parquet")
    path.with_name("day=04.parquet.tmp").write_bytes(b"not Parquet")

    assert load(store.layout, "AAPL", "2024-01-01", "2024-01-31").num_rows == 4


@pytest.mark.parametrize("name", ["a [store]", "star*", "it's", "a%20b", "~", "s3:x", "gs:"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_root_may_have_any_name(tmp_path: Path, name: str, relative: bool) -> None:
    with contextlib.chdir(tmp_path):
        store = StoreOnDisk(Path(name) if relative else tmp_path / name)
        store.keep((day("AAPL", "2024-01-02"), BARS["AAPL", "2024-01-02"]))

        found = load(store.layout, "AAPL", "2024-01-02", "2024-01-02")

    assert found.to_pylist() == _expected(("AAPL", "2024-01-02"))


def test_a_loader_that_stays_open_reads_a_store_that_was_replaced_by_another_dataset(store: StoreOnDisk) -> None:
    loader = BarLoader(store.layout, unneeded)

    def hours() -> list[float]:
        wanted = [Symbol("AAPL")], TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-02")
        found: list[float] = loader.load(*wanted, Timeframe.HOUR_1)["close"].to_pylist()
        return found

    assert hours() == [11.5]
    for area in ("data", "aggregates"):
        shutil.rmtree(store.root / area)
    other = StoreOnDisk(store.root, evolve(store.identity, feed="iex"))
    other.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 77.0)]))
    other.refresh("AAPL", [Timeframe.HOUR_1])
    assert hours() == [77.5]
