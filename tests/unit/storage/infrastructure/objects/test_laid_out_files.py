from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.objects.laid_out_files import IN_USE, PREFIX, LaidOutFiles
from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
from marketpipe.storage.infrastructure.reading.needed_bars import ALL
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, day
from tests.support.examples import some
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.store_on_disk import StoreOnDisk

AREAS = ("data", "aggregates", "quarantine", "revisions", "official", "copies")
PLACES = StoreLayout(*(Path(f"/s3:/bucket/bars_{area}") for area in AREAS))
DATES = ("2023-12-29", "2024-01-02", "2024-01-03", "2024-02-01")


class InObjects:
    """A store on a disk, and the same files in objects."""

    def __init__(self, root: Path) -> None:
        (root / "temporary").mkdir()
        self.temporary, self.on_disk = root / "temporary", StoreOnDisk(root / "store")
        self.catalog, self.objects = InMemoryFileCatalog(), InMemoryObjectStore()
        self.files = LaidOutFiles(self.catalog, self.objects, PLACES, parent=str(self.temporary))
        self._packs = 0

    def put(self) -> None:
        """Let the objects have what the disk has now: all files of a folder in one object."""
        placed = list[PlacedFile]()
        for folder, _, names in sorted(os.walk(self.on_disk.root)):
            self._packs += 1
            pack, content = f"objects/{self._packs}.parquet", b"PAR1"
            for file in (Path(folder, name) for name in sorted(names)):
                path, size = str(file.relative_to(self.on_disk.root)), file.stat().st_size
                placed.append(PlacedFile(path, pack, len(content), size, file.stat().st_mtime_ns))
                content += file.read_bytes()
            self.objects.put_new(pack, content)
        gone = [file.path for file in self.catalog.below("")]
        self.catalog.change(CatalogChange(removed=gone))
        self.catalog.change(CatalogChange(placed=placed))

    def query(self) -> DuckDBQuery:
        return DuckDBQuery(self.files.layout, CALENDAR.reaching, source=self.files)

    def folders(self) -> list[Path]:
        return sorted(self.temporary.glob(f"{PREFIX}*"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[InObjects]:
    made = InObjects(tmp_path)
    for symbol, price in (("AAPL", 10.0), ("MSFT", 20.0)):
        for date in DATES:
            bars = [bar(f"{date}T{time}:00Z", price) for time in ("14:30", "15:10", "20:59")]
            made.on_disk.keep((day(symbol, date), bars))
    with closing(made.files):
        yield made


QUERIES = (
    "SELECT * FROM bars ORDER BY ALL",
    "SELECT * FROM bars WHERE symbol = 'AAPL' AND trading_date > DATE '2024-01-02' ORDER BY ALL",
    "SELECT * FROM bars_5m WHERE symbol IN ('MSFT') ORDER BY ALL",
    "SELECT symbol, count(*), sum(volume) FROM bars_1d GROUP BY symbol ORDER BY ALL",
    "SELECT * FROM bars_1w JOIN bars USING (symbol) ORDER BY ALL",
    "SELECT count(*) FROM bars WHERE symbol = 'NONE'",
    "SHOW TABLES",
)


@pytest.mark.parametrize("kept", some(["stale copies", "day files", "aggregates", "copies", "compacted"]))
def test_queries_are_answered_as_by_files_of_a_disk(store: InObjects, kept: str) -> None:
    if kept == "aggregates":
        store.on_disk.refresh("AAPL")
    if "copies" in kept:
        store.on_disk.refresh("AAPL", [Timeframe.MINUTE_1])
    if kept == "stale copies":
        store.on_disk.keep((day("AAPL", "2024-01-03"), [bar("2024-01-03T15:30:00Z", 99.0)]))
    if kept == "compacted":
        assert store.on_disk.compact("AAPL") is not None
    store.put()
    with closing(store.query()) as query, closing(store.on_disk.query) as expected:
        for sql in QUERIES:
            assert query.run(sql).equals(expected.run(sql)), sql


def test_fresh_copies_are_read_without_the_content_of_day_files(store: InObjects) -> None:
    store.on_disk.refresh("AAPL", [Timeframe.MINUTE_1])
    store.put()
    with closing(store.query()) as query:
        query.run("SELECT * FROM bars WHERE symbol = 'AAPL'")
        copies = sum(file.size for file in store.catalog.below("copies"))
        assert store.objects.bytes_read == copies


def test_a_second_query_reads_only_what_has_changed(store: InObjects) -> None:
    store.put()
    with closing(store.query()) as query:
        first = query.run("SELECT * FROM bars WHERE symbol = 'AAPL' ORDER BY timestamp")
        before = store.objects.requests["get"]
        assert query.run("SELECT * FROM bars WHERE symbol = 'AAPL' ORDER BY timestamp").equals(first)
        assert store.objects.requests["get"] == before
        store.on_disk.keep((day("AAPL", "2024-02-01"), [bar("2024-02-01T15:30:00Z", 77.0)]))
        pack, file = "objects/new.parquet", store.on_disk.path(day("AAPL", "2024-02-01"))
        store.objects.put_new(pack, file.read_bytes())
        path = str(file.relative_to(store.on_disk.root))
        changed = PlacedFile(path, pack, 0, file.stat().st_size, file.stat().st_mtime_ns)
        store.catalog.change(CatalogChange(placed=[changed]))
        asked = "SELECT max(open) AS most FROM bars WHERE symbol = 'AAPL'"
        assert query.run(asked).to_pylist() == [{"most": 77.0}]
        assert store.objects.requests["get"] == before + 1


def test_days_that_are_gone_are_read_no_more(store: InObjects) -> None:
    store.put()
    with closing(store.query()) as query:
        query.run("SELECT * FROM bars")
        gone = [file.path for file in store.catalog.below("data/symbol=MSFT")]
        store.catalog.change(CatalogChange(removed=gone))
        assert query.run("SELECT DISTINCT symbol FROM bars").to_pylist() == [{"symbol": "AAPL"}]


def test_days_of_one_object_come_in_one_request(store: InObjects) -> None:
    store.put()
    with closing(store.query()) as query:
        query.run("SELECT * FROM bars WHERE symbol = 'AAPL' AND trading_date BETWEEN '2024-01-01' AND '2024-01-31'")
    assert store.objects.requests["get"] == 1


def test_errors_name_the_place_of_the_store(store: InObjects) -> None:
    file = store.on_disk.path(day("AAPL", "2024-01-03"))
    content = file.read_bytes()
    file.write_bytes(b"\0" * len(content))
    store.put()
    with closing(store.query()) as query, pytest.raises(StorageError) as raised:
        query.run("SELECT * FROM bars")
    assert "s3://bucket/bars_data/symbol=AAPL" in str(raised.value)
    assert str(store.temporary) not in str(raised.value)


def test_an_empty_store_has_no_bars_of_its_place(store: InObjects) -> None:
    with closing(store.query()) as query, pytest.raises(ConfigurationError, match="s3://bucket/bars_data") as raised:
        query.run("SELECT * FROM bars")
    assert str(store.temporary) not in str(raised.value)


def test_an_object_that_is_too_short_is_an_error(store: InObjects) -> None:
    store.put()
    place = store.catalog.below("data/symbol=AAPL")[0]
    store.objects.objects[place.object] = store.objects.objects[place.object][: place.offset + 5]
    with closing(store.query()) as query, pytest.raises(StorageError, match="shorter than the state says"):
        query.run("SELECT * FROM bars")


def test_nothing_is_left_behind(store: InObjects) -> None:
    store.put()
    with closing(store.query()) as query:
        query.run("SELECT count(*) FROM bars")
        assert len(store.folders()) == 1
    assert store.folders() == []


def test_what_a_dead_process_left_is_removed_and_that_of_a_living_one_stays(store: InObjects) -> None:
    dead = store.temporary / f"{PREFIX}dead"
    dead.mkdir()
    (dead / IN_USE).touch()
    (dead / "data").mkdir()
    living = LaidOutFiles(store.catalog, store.objects, PLACES, parent=str(store.temporary))
    with closing(living):
        kept = living.layout.data.parent
        assert not dead.exists()
        store.files.survey(ALL, [Timeframe.MINUTE_1])
        assert kept.exists()
