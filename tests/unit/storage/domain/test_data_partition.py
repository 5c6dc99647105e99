from __future__ import annotations

from datetime import date
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition
from tests.support.builders import day

SYMBOLS = st.from_regex(r"[A-Z0-9]([A-Z0-9-]{0,8}\.?[A-Z0-9]{1,8})?", fullmatch=True).map(Symbol)
DAYS = st.dates(date(1970, 1, 2), date(2099, 12, 31)).map(TradingDate)
SYMBOL_DAYS = st.builds(SymbolDay, SYMBOLS, DAYS)


def test_a_symbol_day_has_one_hive_partitioned_file() -> None:
    assert DataPartition(day("BRK.B", "2024-01-02")).path == "symbol=BRK.B/year=2024/month=01/day=02.parquet"


def test_a_trading_date_is_the_new_york_date_and_is_padded() -> None:
    assert DataPartition(day("A", "0987-12-31")).path == "symbol=A/year=0987/month=12/day=31.parquet"


@given(SYMBOL_DAYS, SYMBOL_DAYS)
def test_two_symbol_days_never_share_a_file(one: SymbolDay, other: SymbolDay) -> None:
    assert (DataPartition(one).path == DataPartition(other).path) == (one == other)


@given(SYMBOL_DAYS)
def test_a_path_stays_below_the_root(symbol_day: SymbolDay) -> None:
    parts = PurePosixPath(DataPartition(symbol_day).path).parts

    assert len(parts) == 4
    assert not set(parts) & {"/", "..", "."}


@given(SYMBOL_DAYS)
def test_a_symbol_day_is_in_the_folder_of_its_month(symbol_day: SymbolDay) -> None:
    month = MonthPartition.of(symbol_day)

    assert DataPartition(symbol_day).path.rpartition("/")[0] == month.folder
    assert (month.year, month.month) == (symbol_day.trading_date.day.year, symbol_day.trading_date.day.month)


def test_months_are_ordered_by_symbol_then_time() -> None:
    jan, feb, next_jan = (MonthPartition(Symbol("A"), *when) for when in ((2024, 1), (2024, 2), (2025, 1)))

    assert sorted([next_jan, MonthPartition(Symbol("B"), 1999, 1), feb, jan]) == [
        jan,
        feb,
        next_jan,
        MonthPartition(Symbol("B"), 1999, 1),
    ]
    assert str(feb) == "2024-02"
