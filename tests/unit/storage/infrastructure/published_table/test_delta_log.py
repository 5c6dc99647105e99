from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.domain.published_table import TableFigures, TableFile
from marketpipe.storage.infrastructure.published_table.delta_log import FORMER, NOW, DeltaLog
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore

SECOND = 1_000_000_000
DAY = 24 * 3600 * SECOND
FIGURES = TableFigures(
    3, 1200, ("AAPL", "MSFT"), ("2024-01-02", "2024-01-31"), (1_704_205_800_000_000, 1_706_734_740_000_999)
)


@define
class Time:
    now: int = 1_700_000_000 * SECOND
    slept: list[float] = field(factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += int(seconds * SECOND)


def file(name: str) -> TableFile:
    return TableFile(f"objects/delta/{name}.parquet", 100, FIGURES)


class Table:
    def __init__(self) -> None:
        self.catalog, self.store, self.time = InMemoryFileCatalog(), InMemoryObjectStore(), Time()

    def log(self, catalog: InMemoryFileCatalog | None = None) -> DeltaLog:
        at = catalog or self.catalog, self.store, "s3://bucket/bars/objects/delta"
        return DeltaLog(*at, lambda: self.time.now, self.time.sleep)

    def publish(self, *names: str) -> tuple[int, int, int]:
        self.time.now += 60 * SECOND
        found = self.log().publish([file(name) for name in names])
        return found.number, found.added, found.removed

    def actions(self, number: int) -> list[dict[str, Any]]:
        content = self.store.objects[f"objects/delta/_delta_log/{number:020}.json"]
        return [json.loads(line) for line in content.splitlines()]

    def added(self, number: int) -> list[str]:
        return [each["add"]["path"] for each in self.actions(number) if "add" in each]

    def names(self, folder: str) -> list[str]:
        return [each.object.removeprefix("objects/delta/") for each in self.catalog.below(folder.rstrip("/"))]


def test_a_version_names_what_has_come_and_gone() -> None:
    table = Table()
    assert table.publish("a", "b") == (0, 2, 0)
    assert table.publish("a", "b") == (0, 0, 0)
    assert table.publish("b", "c") == (1, 1, 1)

    kinds = [next(iter(each)) for each in table.actions(0)]
    assert kinds == ["commitInfo", "protocol", "metaData", "add", "add"]
    _, removed, added = table.actions(1)
    assert (removed["remove"]["path"], added["add"]["path"]) == ("a.parquet", "c.parquet")
    assert table.names(NOW) == ["b.parquet", "c.parquet"]


def test_what_has_left_the_table_is_named_for_a_day() -> None:
    table = Table()
    table.publish("a")
    table.publish("b")
    assert table.names(FORMER) == ["a.parquet"]
    table.publish("b")
    assert table.names(FORMER) == ["a.parquet"]
    table.time.now += DAY
    table.publish("b")
    assert table.names(FORMER) == []


def test_what_comes_back_is_no_former_object() -> None:
    table = Table()
    for names in ("a", "b", "a"):
        table.publish(names)
    assert (table.names(NOW), table.names(FORMER)) == (["a.parquet"], ["b.parquet"])


def test_objects_are_named_before_the_log_names_them_and_not_longer_than_needed() -> None:
    table = Table()
    table.publish("a")
    put_new = table.store.put_new
    named = list[list[str]]()

    def watched(key: str, content: bytes) -> bool:
        named.append(sorted(table.catalog.objects()))
        return put_new(key, content)

    table.store.put_new = watched  # type: ignore[method-assign]
    table.publish("b")
    assert named == [["objects/delta/a.parquet", "objects/delta/b.parquet"]]
    assert table.catalog.below("tables/delta/next") == []


def test_a_version_that_the_catalog_does_not_know_is_caught_up_with() -> None:
    table = Table()
    table.publish("a")
    other = InMemoryFileCatalog()  # as of a state that was lost: it knows no version
    table.publish("b", "c")
    table.time.now += 60 * SECOND

    found = table.log(other).publish([file("c"), file("d")])

    assert (found.number, found.added, found.removed) == (2, 1, 1)
    assert [next(iter(each.values()))["path"] for each in table.actions(2)[1:]] == ["b.parquet", "d.parquet"]


def test_a_catalog_that_was_made_again_names_what_the_log_has() -> None:
    table = Table()
    table.publish("a", "b")
    table.publish("b", "c")
    table.catalog = InMemoryFileCatalog()

    table.log().catch_up()

    assert (table.names(NOW), table.names(FORMER)) == (["b.parquet", "c.parquet"], ["a.parquet"])
    assert table.publish("b", "c") == (1, 0, 0)


def test_two_publishers_cannot_write_one_version() -> None:
    table = Table()
    table.publish("a")
    table.time.now += 60 * SECOND
    put_new = table.store.put_new

    def overtaken(key: str, content: bytes) -> bool:
        put_new(key, b"{}")
        return put_new(key, content)

    table.store.put_new = overtaken  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="by another publisher"):
        table.log().publish([file("b")])


def test_versions_are_ten_seconds_apart() -> None:
    table = Table()
    table.publish("a")
    table.time.now += 4 * SECOND
    table.log().publish([file("b")])
    assert table.time.slept == [6.0]
    table.time.now += 11 * SECOND
    table.log().publish([file("c")])
    assert table.time.slept == [6.0]


def test_a_clock_that_went_back_lets_no_version_be_older_than_the_one_before() -> None:
    table = Table()
    table.publish("a")
    table.time.now -= 3600 * SECOND
    table.log().publish([file("b")])
    table.time.now += 4 * SECOND
    table.log().publish([file("c")])

    assert table.time.slept == [10.0, 10.0]
    moments = [table.actions(number)[0]["commitInfo"]["timestamp"] for number in range(3)]
    assert moments == sorted(moments)
    assert table.names(FORMER) == ["a.parquet", "b.parquet"]


class Killed(BaseException):
    """As of a process that ends at once."""


@define
class Killing:
    """Kills the process before, or else after, the call of this number among those that it is asked to make."""

    number: int
    is_after: bool

    def call(self, method: Callable[..., Any], *given: Any) -> Any:
        self.number -= 1
        if self.number < 0 and not self.is_after:
            raise Killed
        found = method(*given)
        if self.number < 0:
            raise Killed
        return found


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2], ids=["naming the objects", "the commit", "the record of it"])
def test_a_publisher_that_is_killed_at_any_step_is_followed_by_the_next(number: int, is_after: bool) -> None:
    table = Table()
    table.publish("a")
    killing, change, put_new = Killing(number, is_after), table.catalog.change, table.store.put_new
    table.catalog.change = partial(killing.call, change)  # type: ignore[method-assign]
    table.store.put_new = partial(killing.call, put_new)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        table.publish("b")
    table.catalog.change, table.store.put_new = change, put_new  # type: ignore[method-assign]

    was_committed = (number, is_after) >= (1, True)
    table.publish("c")

    added = [path for version in range(2 + was_committed) for path in table.added(version)]
    assert added == ["a.parquet", *["b.parquet"] * was_committed, "c.parquet"]
    assert table.names(NOW) == ["c.parquet"]
    assert table.names(FORMER) == added[:-1]
    assert table.catalog.below("tables/delta/next") == []


def test_a_version_costs_no_more_requests_however_many_there_are() -> None:
    table, costs = Table(), list[dict[str, int]]()
    for number in range(61):
        before = dict(table.store.requests)
        table.publish("first", f"a{number}")
        costs.append({kind: count - before.get(kind, 0) for kind, count in table.store.requests.items()})
    assert costs[11:21] == costs[51:61]
    assert costs[59] == {"get": 1, "put": 1}
    assert costs[60] == {"get": 2, "put": 2}  # with a checkpoint


def test_times_are_told_in_milliseconds() -> None:
    table = Table()
    table.publish("a")
    stats = json.loads(table.actions(0)[3]["add"]["stats"])
    assert stats["numRecords"] == 1200
    assert stats["minValues"] == {
        "symbol": "AAPL",
        "trading_date": "2024-01-02",
        "timestamp": "2024-01-02T14:30:00.000Z",
    }
    assert stats["maxValues"]["timestamp"] == "2024-01-31T20:59:00.000Z"


def test_readers_need_no_commit_before_a_checkpoint(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    table = Table()
    for number in range(12):
        assert table.publish("first", f"a{number}")[0] == number
    for key, content in table.store.objects.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    root = tmp_path / "objects" / "delta"
    for number in range(10):
        (root / "_delta_log" / f"{number:020}.json").unlink()

    read = deltalake.DeltaTable(str(root))

    assert read.version() == 11
    assert sorted(uri.rpartition("/")[2] for uri in read.file_uris()) == ["a11.parquet", "first.parquet"]
    assert [each.name for each in read.schema().fields][:3] == ["symbol", "trading_date", "timestamp"]
