from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import StoreLayout, is_folder, unreadable
from tests.support.builders import day

AAPL = Symbol("AAPL")
JANUARY = MonthPartition(AAPL, 2024, 1)


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return StoreLayout(*(tmp_path / name for name in ("data", "aggregates", "quarantine", "revisions")))


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_each_root_holds_its_own_kind_of_file(layout: StoreLayout) -> None:
    below = "symbol=AAPL/year=2024/month=01"
    symbol_day = day("AAPL", "2024-01-02")

    assert layout.bars(symbol_day) == layout.data / below / "day=02.parquet"
    assert layout.rejected(symbol_day) == layout.quarantine / below / "day=02.parquet"
    assert layout.month(JANUARY) == layout.data / below
    assert layout.aggregate(Timeframe.HOUR_1, JANUARY) == f"{layout.aggregates}/timeframe=1h/{below}.parquet"


@pytest.mark.parametrize(
    ("timeframe", "path"),
    [
        (Timeframe.MINUTE_5, "timeframe=5m/symbol=AAPL/year=2024/month=03.parquet"),
        (Timeframe.HOUR_4, "timeframe=4h/symbol=AAPL/year=2024/month=03.parquet"),
        (Timeframe.DAY_1, "timeframe=1d/symbol=AAPL/year=2024.parquet"),
    ],
)
def test_intraday_aggregates_have_a_file_a_month_and_daily_ones_a_file_a_year(
    layout: StoreLayout, timeframe: Timeframe, path: str
) -> None:
    assert layout.aggregate(timeframe, MonthPartition(AAPL, 2024, 3)) == f"{layout.aggregates}/{path}"


def test_symbols_and_months_are_found_in_order(layout: StoreLayout) -> None:
    dates = ("2024-10-01", "2024-02-01", "2023-12-01", "2024-02-02")
    _touch(*(layout.bars(day("AAPL", date)) for date in dates), layout.bars(day("A", "2024-01-02")))

    assert layout.symbols() == [Symbol("A"), AAPL]
    assert layout.months(AAPL) == [MonthPartition(AAPL, *when) for when in ((2023, 12), (2024, 2), (2024, 10))]


def test_day_files_of_a_month_are_found_in_order(layout: StoreLayout) -> None:
    dates = ("2024-01-30", "2024-01-02", "2024-01-11")
    _touch(*(layout.bars(day("AAPL", date)) for date in dates))

    assert [path.name for path in layout.day_files(JANUARY)] == ["day=02.parquet", "day=11.parquet", "day=30.parquet"]


def test_an_empty_store_has_nothing(layout: StoreLayout) -> None:
    assert (layout.symbols(), layout.months(AAPL), layout.day_files(JANUARY)) == ([], [], [])


def test_foreign_files_are_passed_over(layout: StoreLayout) -> None:
    month = layout.month(JANUARY)
    _touch(
        layout.data / "notes.json",
        layout.data / "symbol=aapl" / "x",
        layout.data / "symbol=.DS_Store" / "x",
        layout.data / "symbol=AAPL" / "year=2024 (copy)" / "month=01" / "x",
        layout.data / "symbol=AAPL" / "year=2024" / "month=old" / "x",
        month / "day=02.parquet",
        month / "day=02 (conflicted copy).parquet",
        month / ".day=03.parquet.1-1.tmp",
        month / "day=04.parquet.bak",
    )

    assert layout.symbols() == [AAPL]
    assert layout.months(AAPL) == [JANUARY]
    assert layout.day_files(JANUARY) == [month / "day=02.parquet"]


def test_what_cannot_be_examined_does_not_pass_for_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert not is_folder(tmp_path / "missing")
    assert not is_folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match="cannot read"):
        is_folder(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("path", "named", "shown"),
    [
        ("data/symbol=AAPL", "data/symbol=AAPL", "data/symbol=AAPL"),
        ("data/symbol=AAPL", "day=02.parquet", "data/symbol=AAPL/day=02.parquet"),
        ("data", "data", "data"),
    ],
)
def test_an_error_names_each_path_once(path: str, named: str, shown: str) -> None:
    assert str(unreadable(path, PermissionError(13, "Permission denied", named))).startswith(f"cannot read {shown}: ")
