from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.reading.consistent_reading import (
    ATTEMPTS,
    fingerprints_below,
    read_consistently,
)
from marketpipe.storage.infrastructure.reading.duckdb_query import Connection, DuckDBQuery, T
from marketpipe.storage.infrastructure.reading.query_views import QueryViews
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree
from tests.support.bar_stores import at
from tests.support.builders import CALENDAR, day
from tests.support.store_on_disk import StoreOnDisk


def publish(path: Path, content: str) -> None:
    """As files of a store are replaced: by a new one of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.tmp")
    staged.write_text(content)
    staged.replace(path)


@define
class Reading:
    """``during``: what happens in the middle of the first so many reads."""

    path: Path
    during: list[Callable[[], None]]
    fails: bool = False
    times: int = 0

    def __call__(self) -> str:
        self.times += 1
        happened = self.path.read_text()
        if self.during:
            self.during.pop(0)()
            if self.fails:
                raise PartitionUnreadableError("half of one, half of another")
        return happened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    publish(tmp_path / "data" / "month=01" / "day=02.parquet", "first")
    return tmp_path / "data" / "month=01" / "day=02.parquet"


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_read_while_a_file_was_replaced_is_read_again(path: Path, fails: bool) -> None:
    read = Reading(path, [lambda: publish(path, "second"), lambda: publish(path, "third")], fails)

    assert (read_consistently(lambda: fingerprints_below([path.parents[1]]), read), read.times) == ("third", 3)


def test_a_file_that_is_gone_meanwhile_counts_as_replaced(path: Path) -> None:
    other = path.with_name("day=03.parquet")
    publish(other, "other")
    read = Reading(path, [other.unlink])

    assert (read_consistently(lambda: fingerprints_below([path.parent]), read), read.times) == ("first", 2)


def test_files_that_are_added_do_no_harm(path: Path) -> None:
    read = Reading(path, [lambda: publish(path.with_name("day=03.parquet"), "new")])

    assert (read_consistently(lambda: fingerprints_below([path.parents[1]]), read), read.times) == ("first", 1)


@pytest.mark.parametrize(("first", "added"), [("days", "day=03"), ("day=02", "days")])
def test_what_was_read_while_days_were_added_in_another_form_is_read_again(path: Path, first: str, added: str) -> None:
    path = path.with_name(f"{first}.parquet")
    publish(path, "first")
    read = Reading(path, [lambda: publish(path.with_name(f"{added}.parquet"), "new")])

    assert (read_consistently(lambda: fingerprints_below([path.parents[1]]), read), read.times) == ("first", 2)


def test_an_error_that_no_replacement_explains_is_raised_at_once(path: Path) -> None:
    read = Reading(path, [lambda: None], fails=True)

    with pytest.raises(PartitionUnreadableError):
        read_consistently(lambda: fingerprints_below([path.parent]), read)
    assert read.times == 1


def test_a_reader_gives_up_if_files_are_replaced_each_time(path: Path) -> None:
    read = Reading(path, [lambda: publish(path, "again")] * 2 * ATTEMPTS)

    with pytest.raises(StorageError, match="replaced again and again"):
        read_consistently(lambda: fingerprints_below([path.parent]), read)
    assert read.times == ATTEMPTS


def test_only_parquet_files_count_and_a_store_need_not_exist(path: Path) -> None:
    path.with_name("note.txt").write_text("mine")

    assert list(fingerprints_below([path.parents[1], path.parents[1] / "nowhere"])) == [str(path)]


AAPL, JANUARY = day("AAPL", "2024-01-02"), MonthPartition(Symbol("AAPL"), 2024, 1)


@define
class _Replacing:
    """Restates the day once, at the end of the first read of it."""

    store: StoreOnDisk
    times: int = 0

    def __call__(self) -> None:
        self.times += 1
        if self.times == 1:
            self.store.clock.advance(60)
            self.store.keep((AAPL, [at(0, 200.0)]))


class _DisturbedQuery(DuckDBQuery):
    def __init__(self, store: StoreOnDisk, disturb: Callable[[], None]) -> None:
        super().__init__(store.layout, CALENDAR.reaching)
        self._disturb = disturb

    def _run(self, sql: str, tree: Tree, answer: Callable[[Connection, str], T], views: QueryViews) -> T:
        found = super()._run(sql, tree, answer, views)
        self._disturb()
        return found


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0, 100.0)]))
    store.refresh("AAPL")
    return store


def test_a_stream_begins_again_if_a_file_was_replaced(store: StoreOnDisk) -> None:
    disturb = _Replacing(store)

    found = _DisturbedQuery(store, disturb).stream("SELECT open FROM bars", lambda reader: reader.read_all())

    assert (found["open"].to_pylist(), disturb.times) == ([200.0], 2)


@pytest.mark.parametrize(("view", "opens", "times"), [("bars", [200.0], 2), ("bars_5m", [100.0], 1)])
def test_a_query_reads_again_if_a_file_of_its_views_was_replaced(
    store: StoreOnDisk, view: str, opens: list[float], times: int
) -> None:
    disturb = _Replacing(store)

    found = _DisturbedQuery(store, disturb).run(f"SELECT open FROM {view}")

    assert (found["open"].to_pylist(), disturb.times) == (opens, times)


def test_a_query_reads_again_if_bars_that_it_made_of_minutes_get_a_file_meanwhile(store: StoreOnDisk) -> None:
    class Refreshing(_Replacing):
        def __call__(self) -> None:
            self.times += 1
            if self.times == 1:
                self.store.refresh("AAPL", [Timeframe.MINUTE_2])

    disturb = Refreshing(store)

    found = _DisturbedQuery(store, disturb).run("SELECT open FROM bars_2m")

    assert (found["open"].to_pylist(), disturb.times) == ([100.0], 2)


def test_a_query_beside_undoing_a_compaction_without_exchange_has_each_bar_once(tmp_path: Path) -> None:
    """Another file in the folder must stay: so the day files are written beside the month file, which goes last."""
    store = StoreOnDisk(tmp_path)
    store.keep(*((day("AAPL", f"2024-01-0{number}"), [at(0)]) for number in (2, 3, 4)))
    contents = {path.name: path.read_bytes() for path in store.layout.day_files(JANUARY)}
    store.compact("AAPL")
    path = store.layout.month(JANUARY) / "day=02.parquet"
    path.write_bytes(contents[path.name])  # so the pattern of all day files is read
    asked = list[str]()

    class UndoneInSteps(_DisturbedQuery):
        def _run(self, sql: str, tree: Tree, answer: Callable[[Connection, str], T], views: QueryViews) -> T:
            if not asked:
                publish_others()
            asked.append(sql)
            return super()._run(sql, tree, answer, views)

    def publish_others() -> None:
        for name in ("day=03.parquet", "day=04.parquet"):
            path.with_name(name).write_bytes(contents[name])

    found = UndoneInSteps(store, lambda: None).run("SELECT count(*) AS bars FROM bars")

    assert (found["bars"].to_pylist(), len(asked)) == ([3], 2)


@pytest.mark.parametrize("other_file", [None, "notes.txt"])
def test_a_query_beside_undoing_a_compaction_runs_again(tmp_path: Path, other_file: str | None) -> None:
    store, times = StoreOnDisk(tmp_path), list[int]()
    store.keep(*((day("AAPL", f"2024-01-0{number}"), [at(0)]) for number in (2, 3, 4)))
    store.compact("AAPL")
    if other_file is not None:
        (store.layout.month(JANUARY) / other_file).write_text("mine")

    def undo() -> None:
        times.append(1)
        store.months.expand(JANUARY, {})

    found = _DisturbedQuery(store, undo).run("SELECT count(*) AS bars FROM bars")

    assert (found["bars"].to_pylist(), len(times)) == ([3], 2)
