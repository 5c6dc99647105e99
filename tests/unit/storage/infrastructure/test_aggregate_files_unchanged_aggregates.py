"""Right after a look at all day files nobody looks at them again for the aggregates that agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import define

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.storage_metadata import RefreshCount
from marketpipe.storage.infrastructure.aggregate_files import SeenMonths, UnchangedAggregates
from marketpipe.storage.infrastructure.file_inventory import FileInventory
from tests.support.aggregated_store import FILES, keep
from tests.support.builders import day
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk

AAPL = Symbol("AAPL")
FIRST, LAST = TradingDate.parse("2023-01-01"), TradingDate.parse("2024-12-31")
ASKED = RefreshCount(7, 0)


@define
class Asked:
    """An aggregator that says how often it was needed."""

    times: int = 0

    def up_to_date(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount | None:
        return None

    def refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        self.times += 1
        return ASKED


def refreshed(
    store: StoreOnDisk, seen: SeenMonths, first: TradingDate | None = FIRST, last: TradingDate | None = LAST
) -> RefreshCount:
    aggregates = UnchangedAggregates(store.layout, seen, Asked)
    asked = AAPL, AGGREGATED, first, last
    return aggregates.up_to_date(*asked) or aggregates.refresh(*asked)


def look(store: StoreOnDisk, first: TradingDate = FIRST, last: TradingDate = LAST) -> SeenMonths:
    seen = SeenMonths()
    FileInventory(store.layout, seen).appearances(AAPL, first, last)
    return seen


def test_what_agrees_with_the_files_that_were_seen_needs_no_aggregator(store: StoreOnDisk) -> None:
    assert refreshed(store, look(store)) == RefreshCount(0, FILES)
    assert refreshed(store, look(store), None, None) == RefreshCount(0, FILES)


@pytest.mark.parametrize("first", ["2024-02-15", "2024-03-05", "2024-04-01", "2024-12-31", "2025-01-01"])
@pytest.mark.parametrize("last", ["2023-12-04", "2024-03-31", "2024-04-30"])
def test_a_part_counts_as_many_files_as_a_refresh_of_it(store: StoreOnDisk, first: str, last: str) -> None:
    bounds = TradingDate.parse(first), TradingDate.parse(last)
    assert refreshed(store, look(store), *bounds) == store.refresh("AAPL", AGGREGATED, first, last)


def test_a_day_that_changed_before_the_look_needs_an_aggregator(store: StoreOnDisk) -> None:
    keep(store, "2024-03-05", 99.0)
    assert refreshed(store, look(store)) == ASKED


@pytest.mark.parametrize("timeframe", [Timeframe.HOUR_1, Timeframe.DAY_1])
def test_a_lost_or_touched_aggregate_needs_an_aggregator(store: StoreOnDisk, timeframe: Timeframe) -> None:
    file = store.aggregate_path("AAPL", timeframe, "2024-03")
    content = file.read_bytes()
    file.unlink()
    assert refreshed(store, look(store)) == ASKED
    file.write_bytes(content)
    assert refreshed(store, look(store)) == ASKED


def test_months_that_nobody_has_seen_need_an_aggregator(store: StoreOnDisk) -> None:
    assert refreshed(store, SeenMonths()) == ASKED
    assert refreshed(store, look(store, first=TradingDate.parse("2024-02-01"))) == ASKED
    seen = look(store)
    seen.forget()
    assert refreshed(store, seen) == ASKED


def test_a_link_to_nowhere_among_the_day_files_needs_an_aggregator(store: StoreOnDisk) -> None:
    file = store.path(day("AAPL", "2024-03-05"))
    file.unlink()
    file.symlink_to(Path("nowhere"))
    assert refreshed(store, look(store)) == ASKED


def test_a_store_without_the_symbol_has_nothing_to_refresh(tmp_path: Path) -> None:
    assert refreshed(StoreOnDisk(tmp_path), SeenMonths()) == RefreshCount(0, 0)
