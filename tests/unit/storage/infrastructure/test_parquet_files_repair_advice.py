"""An error of a damaged file has the advice for the dataset of the store, once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.integrity import MOVE_AWAY, repaired_by
from marketpipe.storage.infrastructure.compacted.day_access import month_unreadable
from marketpipe.storage.infrastructure.parquet_files import advising
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

IMPORTED = DatasetIdentity("import:mine", "sip", "raw")
ADVICE = repaired_by(IMPORTED)


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    """Imported bars of an hour whose trade counts add up to more than 64 bits hold."""
    store = StoreOnDisk(tmp_path, IMPORTED)
    many = [bar(f"2024-01-02T15:{minute}:00Z", 10.0) | {"trade_count": 2**62} for minute in (30, 31, 32)]
    store.keep((day("AAPL", "2024-01-02"), many))
    store.clock.advance(60)
    return store


def test_the_advice_of_an_inner_block_is_replaced() -> None:
    with pytest.raises(PartitionUnreadableError) as caught, advising(lambda: IMPORTED), advising(lambda: None):
        raise PartitionUnreadableError("day=02.parquet is damaged.")

    assert str(caught.value) == f"day=02.parquet is damaged. {ADVICE}"


def test_the_advice_for_a_month_is_replaced() -> None:
    path = "symbol=AAPL/year=2024/month=01/days.parquet"

    with pytest.raises(MonthUnreadableError) as caught, advising(lambda: IMPORTED), advising(lambda: None):
        raise month_unreadable(path, "has no end")

    assert str(caught.value).count("repairs it") == 1
    assert str(caught.value).startswith(f"{path} has no end. 'marketpipe import' with your files repairs it")


def test_bars_of_a_moment_that_cannot_be_aggregated_have_one_advice(store: StoreOnDisk) -> None:
    date = TradingDate.parse("2024-01-02")

    with pytest.raises(PartitionUnreadableError, match="cannot aggregate AAPL") as caught:
        store.loader.load([Symbol("AAPL")], date, date, Timeframe.HOUR_1, store.clock.now())

    assert str(caught.value).endswith(f"bits hold. {ADVICE}")


def test_minutes_that_cannot_be_aggregated_have_one_advice(store: StoreOnDisk) -> None:
    with pytest.raises(PartitionUnreadableError, match="cannot aggregate AAPL") as caught:
        store.refresh("AAPL", [Timeframe.HOUR_1])

    assert str(caught.value).endswith(f"bits hold. {ADVICE}")


def test_a_broken_link_in_the_place_of_a_day_has_one_advice(store: StoreOnDisk) -> None:
    place = store.path(day("AAPL", "2024-01-03"))
    os.symlink("nowhere", place)

    with pytest.raises(PartitionUnreadableError) as caught:
        store.refresh("AAPL", [Timeframe.DAY_1])

    assert str(caught.value) == f"{place} is a broken link; {MOVE_AWAY}. {ADVICE}"
