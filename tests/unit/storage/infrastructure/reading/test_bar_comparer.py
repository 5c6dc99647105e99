from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.storage.infrastructure.reading.bar_comparer import ParquetBarComparer, compare_bars
from marketpipe.testing import bar_table
from tests.support.bar_stores import at
from tests.support.builders import columnar, day
from tests.support.store_on_disk import NOTHING, StoreOnDisk, tree

AAPL = day("AAPL", "2024-01-02")
Row = dict[str, Any]
VALUES = st.sampled_from([100.0, 100.5, 101.0])
DAYS = st.dictionaries(st.integers(0, 8), st.tuples(VALUES, st.sampled_from([None, 7, 8])), max_size=8)


def rows(said: dict[int, tuple[float, int | None]]) -> list[Row]:
    return [at(minute, price, trade_count=count) for minute, (price, count) in sorted(said.items())]


def compared(old: list[Row], new: list[Row]) -> DayComparison:
    return compare_bars(DayComparison(AAPL), bar_table(old), bar_table(new))


@given(DAYS, DAYS)
def test_counts_are_those_of_a_plain_comparison(
    old: dict[int, tuple[float, int | None]], new: dict[int, tuple[float, int | None]]
) -> None:
    found = compared(rows(old), rows(new))

    both = old.keys() & new.keys()
    assert found.added == len(new.keys() - old.keys())
    assert found.removed == len(old.keys() - new.keys())
    assert found.changed == sum(old[minute] != new[minute] for minute in both)
    assert found.unchanged == len(both) - found.changed
    assert found.differs == (old != new)


def test_a_count_that_comes_or_goes_is_a_change() -> None:
    assert compared([at(0, trade_count=None)], [at(0, trade_count=5)]).changed == 1
    assert compared([at(0, vwap=None)], [at(0, vwap=None)]).changed == 0


def scaled(row: Row, price: float, volume: float, digits: int = 2) -> Row:
    names = ("open", "high", "low", "close", "vwap")
    return {
        **row,
        **{name: round(row[name] * price, digits) for name in names},
        "volume": round(row["volume"] * volume),
    }


@pytest.mark.parametrize(("price", "volume"), [(0.5, 2.0), (0.1, 10.0), (3.0, 1 / 3), (0.985, 1.0)])
def test_a_constant_ratio_is_found_through_rounding(price: float, volume: float) -> None:
    old = [at(minute, 187.13 + minute / 7) for minute in range(60)]

    found = compared(old, [scaled(row, price, volume) for row in old])

    assert found.price_ratio == pytest.approx(price, rel=1e-3)
    assert found.volume_ratio == pytest.approx(volume, rel=1e-2)
    assert found.changed == 60


def test_corrections_of_single_bars_have_no_ratio() -> None:
    old = [at(minute, 100.0 + minute) for minute in range(60)]
    new = [at(minute, 100.0 + minute + (5 if minute == 30 else 0)) for minute in range(60)]

    found = compared(old, new)

    assert (found.changed, found.price_ratio) == (1, None)
    assert found.largest_move == pytest.approx(5 / 129)


def test_a_handful_of_bars_proves_no_ratio() -> None:
    old = [at(minute, 100.0) for minute in range(4)]

    assert compared(old, [scaled(row, 0.5, 2.0) for row in old]).price_ratio is None


def test_the_comparison_is_with_what_storing_would_make_of_it(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0), at(1), at(2)]))
    before = tree(tmp_path)

    whole, *_ = ParquetBarComparer(store.layout).compare(columnar((AAPL, [at(0), at(3)])), NOTHING)
    part, *_ = ParquetBarComparer(store.layout).compare(columnar((AAPL, [at(0), at(3)]), whole=False), NOTHING)
    turned_down, *_ = ParquetBarComparer(store.layout).compare(columnar((AAPL, [at(0)])), columnar((AAPL, [at(1)])))

    assert (whole.unchanged, whole.added, whole.removed) == (1, 1, 2)
    assert (part.unchanged, part.added, part.removed) == (3, 1, 0)
    assert (turned_down.unchanged, turned_down.removed) == (2, 1)
    assert tree(tmp_path) == before


def test_a_damaged_file_is_an_error_of_its_own_day(tmp_path: Path) -> None:
    store, other = StoreOnDisk(tmp_path), day("AAPL", "2024-01-03")
    store.keep((AAPL, [at(0)]), (other, [at(24 * 60)]))
    store.path(AAPL).write_bytes(b"PAR1")

    damaged, fine = ParquetBarComparer(store.layout).compare(columnar((AAPL, [at(0)]), (other, [at(24 * 60)])), NOTHING)

    assert "is damaged" in str(damaged.error)
    assert (fine.unchanged, fine.error) == (1, None)


def test_a_day_without_a_file_gains_all_its_bars(tmp_path: Path) -> None:
    (found,) = ParquetBarComparer(StoreOnDisk(tmp_path).layout).compare(columnar((AAPL, [at(0), at(1)])), NOTHING)

    assert found == DayComparison(AAPL, added=2)
