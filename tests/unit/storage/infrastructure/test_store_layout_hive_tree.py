"""The tree is a Hive dataset: the engines that people use read it as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.testing import bar
from tests.support.builders import columnar, day
from tests.support.store_on_disk import StoreOnDisk

Rows = list[tuple[str, int, str, float, int | None]]
"""Symbol, year, time, close and trade count."""

MINUTES: Rows = [
    ("AAPL", 2023, "2023-12-29 20:59", 10.5, 10),
    ("AAPL", 2024, "2024-01-02 14:30", 20.5, None),
    ("TRUE", 2024, "2024-01-03 00:59", 30.5, 10),
]


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path)
    store.keep(
        (day("AAPL", "2023-12-29"), [bar("2023-12-29T20:59:00Z", 10.0)]),
        (day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 20.0, trade_count=None)]),
        (day("TRUE", "2024-01-02"), [bar("2024-01-03T00:59:00Z", 30.0)]),
        rejected=columnar((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:31:00Z", -1.0)])),
    )
    return store


def _rows(frame: pd.DataFrame) -> Rows:
    ordered = frame.sort_values("timestamp")
    return [
        (str(symbol), int(year), f"{time:%Y-%m-%d %H:%M}", close, None if pd.isna(count) else int(count))
        for symbol, year, time, close, count in zip(
            ordered["symbol"],
            ordered["year"],
            pd.to_datetime(ordered["timestamp"]).dt.tz_convert("UTC"),
            ordered["close"],
            ordered["trade_count"],
            strict=True,
        )
    ]


def _by_pyarrow(root: Path) -> pd.DataFrame:
    return ds.dataset(root, partitioning="hive").to_table().to_pandas()


def _by_pandas(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root)


def _by_polars(root: Path) -> pd.DataFrame:
    import polars as pl

    return pl.scan_parquet(root, hive_partitioning=True).collect().to_pandas()


def _by_duckdb(root: Path) -> pd.DataFrame:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        files = connection.read_parquet(f"{root}/**/*.parquet", hive_partitioning=True)
        return files.to_arrow_table().to_pandas()


ENGINES = pytest.mark.parametrize("read", [_by_pyarrow, _by_pandas, _by_polars, _by_duckdb])


@ENGINES
def test_the_minutes_are_a_hive_dataset(store: StoreOnDisk, read: Callable[[Path], pd.DataFrame]) -> None:
    found = read(store.layout.data)

    assert _rows(found) == MINUTES
    assert sorted(int(month) for month in found["month"]) == [1, 1, 12]


@ENGINES
def test_the_aggregates_of_a_timeframe_are_a_hive_dataset(
    store: StoreOnDisk, read: Callable[[Path], pd.DataFrame]
) -> None:
    for symbol in ("AAPL", "TRUE"):
        store.refresh(symbol, [Timeframe.MINUTE_5])

    found = _rows(read(store.layout.aggregates / "timeframe=5m"))

    assert [(symbol, year, time) for symbol, year, time, _, _ in found] == [
        ("AAPL", 2023, "2023-12-29 20:55"),
        ("AAPL", 2024, "2024-01-02 14:30"),
        ("TRUE", 2024, "2024-01-03 00:55"),
    ]


@ENGINES
def test_the_quarantine_is_a_hive_dataset(store: StoreOnDisk, read: Callable[[Path], pd.DataFrame]) -> None:
    assert _rows(read(store.layout.quarantine)) == [("AAPL", 2024, "2024-01-02 14:31", -0.5, 10)]


def test_a_partition_filter_reads_one_symbol_alone(store: StoreOnDisk) -> None:
    store.path(day("TRUE", "2024-01-02")).write_bytes(b"damaged, but of another symbol")
    dataset = ds.dataset(store.layout.data, partitioning="hive", schema=_schema_of(store))

    assert dataset.to_table(filter=ds.field("symbol") == "AAPL").num_rows == 2


def _schema_of(store: StoreOnDisk) -> pa.Schema:
    one = store.layout.data / "symbol=AAPL"
    return ds.dataset(one, partitioning="hive").schema.append(pa.field("symbol", pa.string()))
