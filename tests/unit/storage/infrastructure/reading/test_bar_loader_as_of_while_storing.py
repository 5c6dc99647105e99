"""Readers never wait for a writer: a version is found although it becomes a revision meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.data_partition import MonthPartition, Revision
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator
from marketpipe.storage.infrastructure.reading.bar_loader import AsOfReader, BarLoader, BarRange
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from tests.support.bar_stores import at
from tests.support.builders import CALENDAR, day
from tests.support.examples import some
from tests.support.store_on_disk import StoreOnDisk

AAPL = day("AAPL", "2024-01-02")


def after(seconds: float) -> Timestamp:
    """The clock started."""
    return Timestamp.parse("2025-06-02T12:00:00Z").plus(timedelta(seconds=seconds))


def prices(loader: BarLoader, as_of: Timestamp, timeframe: Timeframe) -> list[float]:
    date = AAPL.trading_date
    found: list[float] = loader.load([Symbol("AAPL")], date, date, timeframe, as_of)["open"].to_pylist()
    return found


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    """One bar, whose price was 100 at first, 101 after a minute, and 102 after two."""
    store = StoreOnDisk(tmp_path)
    for price in (100.0, 101.0, 102.0):
        store.keep((AAPL, [at(0, price)]))
        store.clock.advance(60)
    return store


@frozen
class Interrupted(StoreLayout):
    """Something happens ``before`` and ``after`` each look at the revisions."""

    before: Callable[[], object] = field(kw_only=True)
    after: Callable[[], object] = field(kw_only=True)

    def revisions_of(self, month: MonthPartition) -> list[Revision]:
        self.before()
        found = super().revisions_of(month)
        self.after()
        return found


@define
class Replacing:
    """Says ``times`` times something new of the one bar, the clock going on by a minute each time."""

    store: StoreOnDisk
    times: int

    def __call__(self) -> None:
        if self.times:
            self.times -= 1
            self.store.keep((AAPL, [at(0, 200.0 + self.times)]))
            self.store.clock.advance(60)


def _interrupted(store: StoreOnDisk, before: int = 0, after: int = 0) -> StoreLayout:
    plain = store.layout
    roots = (plain.data, plain.aggregates, plain.quarantine, plain.revisions)
    return Interrupted(*roots, before=Replacing(store, before), after=Replacing(store, after))


@pytest.mark.parametrize(("times_before", "times_after"), some([(1, 0), (0, 1), (2, 0), (0, 2), (3, 3)]))
@pytest.mark.parametrize("timeframe", [Timeframe.MINUTE_1, Timeframe.HOUR_1])
@pytest.mark.parametrize(("seconds", "known"), [(-1, []), (60, [101.0]), (120, [102.0]), (150, [102.0])])
def test_a_file_that_is_replaced_during_a_scan_is_not_missed(
    store: StoreOnDisk, times_before: int, times_after: int, timeframe: Timeframe, seconds: float, known: list[float]
) -> None:
    layout = _interrupted(store, times_before, times_after)
    loader = BarLoader(layout, lambda: BarAggregator(CALENDAR))

    assert prices(loader, after(seconds), timeframe) == known


@pytest.mark.parametrize(("times_before", "times_after"), [(1, 0), (0, 1), (1, 1)])
def test_one_scan_is_enough_to_find_a_version_wherever_it_moves(
    store: StoreOnDisk, times_before: int, times_after: int
) -> None:
    layout, date = _interrupted(store, times_before, times_after), AAPL.trading_date
    reader = AsOfReader(layout, lambda: BarAggregator(CALENDAR))

    found = reader.versions(BarRange(AAPL.symbol, date, date, Timeframe.MINUTE_1), after(150))

    assert [version.known_since for version in found] == [after(120)]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_file_that_is_replaced_before_it_is_read_is_not_taken_for_what_it_was(store: StoreOnDisk, times: int) -> None:
    replace = Replacing(store, times)

    def new_aggregator() -> BarAggregator:
        """Made after the files were chosen, and before they are read."""
        replace()
        return BarAggregator(CALENDAR)

    assert prices(BarLoader(store.layout, new_aggregator), after(150), Timeframe.HOUR_1) == [102.0]


def test_a_file_that_goes_before_it_is_read_is_no_error(store: StoreOnDisk) -> None:
    def new_aggregator() -> BarAggregator:
        store.path(AAPL).unlink(missing_ok=True)
        return BarAggregator(CALENDAR)

    assert prices(BarLoader(store.layout, new_aggregator), after(150), Timeframe.HOUR_1) == [101.0]
