"""What aggregating costs after one day has changed: its month, and nothing else in the whole store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.infrastructure.aggregates.aggregate_files import AggregateFiles
from marketpipe.storage.infrastructure.aggregates.bar_aggregator import BarAggregator, Made, Minutes
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
from marketpipe.testing import bar
from tests.support.aggregated_store import FILES, daily_closes, files_of, keep
from tests.support.builders import CALENDAR, columnar, day
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk

SYMBOLS = ("AAPL", "MSFT")


@frozen
class Traces:
    """Of every file: its inode, its modification time, and when anything about it last changed."""

    files: Mapping[str, tuple[int, int, int]]

    @classmethod
    def of(cls, root: Path) -> Traces:
        stats = {str(path.relative_to(root)): path.stat() for path in root.rglob("*") if path.is_file()}
        return cls({name: (found.st_ino, found.st_mtime_ns, found.st_ctime_ns) for name, found in stats.items()})

    def changed_to(self, later: Traces) -> set[str]:
        names = self.files.keys() | later.files.keys()
        return {name for name in names if self.files.get(name) != later.files.get(name)}


class WatchedAggregator(BarAggregator):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(CALENDAR)
        self.asked: list[tuple[str, str, tuple[Timeframe, ...]]] = []

    def aggregate(self, minutes: Minutes, timeframes: Sequence[Timeframe]) -> Made:
        self.asked += [(str(month.symbol), str(month), tuple(timeframes)) for month in minutes]
        return super().aggregate(minutes, timeframes)


@pytest.fixture
def watched(store: StoreOnDisk) -> WatchedAggregator:
    """Of a store with two symbols and a bar in quarantine, all of it aggregated."""
    keep(store, "2024-03-05", 50.0, symbol="MSFT")
    turned_down = day("MSFT", "2024-03-06")
    store.partitions.store(columnar((turned_down, [])), columnar((turned_down, [bar("2024-03-06T15:00:00Z")])))
    store.refresh("MSFT")
    return WatchedAggregator()


def refresh(store: StoreOnDisk, aggregator: BarAggregator) -> AggregationReport:
    writer = ParquetWriter(store.compression)
    files = AggregateFiles(store.layout, store.identity, lambda: aggregator, writer, store.files)
    return sum((files.refresh(Symbol(name), AGGREGATED, None, None) for name in SYMBOLS), start=AggregationReport(0, 0))


def test_one_changed_day_rewrites_its_month_and_its_year_and_no_other_file(
    store: StoreOnDisk, watched: WatchedAggregator
) -> None:
    others = {date: close for date, close in daily_closes(store).items() if date != "2024-03-05"}
    keep(store, "2024-03-05", 99.0)
    before = Traces.of(store.root)

    assert refresh(store, watched) == AggregationReport(6, FILES - 6 + 6)

    assert before.changed_to(Traces.of(store.root)) == {f"aggregates/{name}" for name in files_of("2024-03")}
    assert watched.asked == [("AAPL", "2024-03", AGGREGATED)]
    assert daily_closes(store) == {**others, "2024-03-05": 99.5}


def test_nothing_is_aggregated_or_touched_if_nothing_has_changed(
    store: StoreOnDisk, watched: WatchedAggregator
) -> None:
    before = Traces.of(store.root)

    assert refresh(store, watched) == AggregationReport(0, FILES + 6)

    assert before.changed_to(Traces.of(store.root)) == set()
    assert watched.asked == []


def test_the_same_minutes_with_another_time_are_not_aggregated_again(
    store: StoreOnDisk, watched: WatchedAggregator
) -> None:
    store.path(day("AAPL", "2024-03-05")).touch()
    before = Traces.of(store.root)

    assert refresh(store, watched) == AggregationReport(0, FILES + 6)

    assert before.changed_to(Traces.of(store.root)) == {f"aggregates/{name}" for name in files_of("2024-03")}
    assert watched.asked == []
