"""A store in a bucket is published as a Delta table: each reader finds each live bar once, of one moment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from attrs import define

from marketpipe import Pipeline
from marketpipe.place_parts import file_catalog, store_lock
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.store_locks import GC, TABLE
from marketpipe.testing import FakeClock
from tests.support.bucket_stores import bucket_config, in_folders, over
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

deltalake = pytest.importorskip("deltalake")

SYMBOLS = ("AAPL", "BRK.B", "MSFT")
DATES = ("2024-01-02", "2024-01-03", "2024-02-01", "2024-02-02")
DAY = timedelta(hours=24)


class Killed(BaseException):
    """As of a process that ends at once."""


@define
class Watched:
    """An object store that tells what is put."""

    store: ObjectStore
    bucket: Bucket

    def put_new(self, key: str, content: bytes) -> bool:
        done = self.store.put_new(key, content)
        self.bucket.has_put(key)
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Bucket:
    """A bucket that is a folder, and pipelines over it.

    ``kill_at``: the next put of a key that begins so kills the process, after it.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.clock, self.kill_at, self.puts = root, FakeClock(), "-", list[str]()
        bars = {
            symbol: {date: minutes(date, 8, price=100.0 + number) for number, date in enumerate(DATES)}
            for symbol in SYMBOLS
        }
        self.provider = ScriptedProvider(bars)
        self.table = root / "bucket" / "bars" / "objects" / "delta"

    def open(self) -> Pipeline:
        config = bucket_config(self.root, symbols=SYMBOLS, start=DATES[0], end=DATES[-1])
        return over(self._store(in_folders(self.root)), config, self.provider, self.clock)

    def _store(self, new_store: Callable[[str], ObjectStore]) -> Callable[[str], ObjectStore]:
        return lambda url: Watched(new_store(url), self)

    def has_put(self, key: str) -> None:
        self.puts.append(key)
        if key.startswith(self.kill_at):
            self.kill_at = "-"
            raise Killed

    def collect(self) -> None:
        """Remove what is in no file, as if everything had been put two days ago."""
        for path in (self.root / "bucket").rglob("*"):
            moment = path.stat().st_mtime - 2 * DAY.total_seconds()
            os.utime(path, (moment, moment))
        with self.open() as other:
            other.gc()

    def lose_state(self) -> None:
        for path in (self.root / "state").iterdir():
            path.unlink()

    def rows(self, version: int | None = None) -> list[tuple[Any, ...]]:
        """Return the bars that the table has, ascending."""
        read = deltalake.DeltaTable(str(self.table), version=version).to_pyarrow_table()
        names = ["symbol", "timestamp", "open", "close", "volume"]
        return sorted(tuple(row[name] for name in names) for row in read.select(names).to_pylist())


def live(store: Pipeline) -> list[tuple[Any, ...]]:
    loaded = store.load(SYMBOLS, DATES[0], DATES[-1]).to_pylist()
    return sorted((row["symbol"], row["timestamp"], row["open"], row["close"], row["volume"]) for row in loaded)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


@pytest.fixture
def store(bucket: Bucket) -> Iterator[Pipeline]:
    with bucket.open() as made:
        assert made.ingest().ok
        yield made


def correct(bucket: Bucket, store: Pipeline) -> None:
    bucket.clock.advance(60)
    bucket.provider.bars["MSFT"][DATES[1]] = minutes(DATES[1], 5, price=300.0)
    store.audit(SYMBOLS, DATES[0], DATES[-1], adopt=True)


def test_a_compacted_store_is_published_without_a_copy(bucket: Bucket, store: Pipeline) -> None:
    store.compact()
    bucket.puts.clear()

    report = store.publish_delta()

    assert (report.ok, report.version, report.objects, report.copied) == (True, 0, 2, 0)
    assert bucket.puts == ["objects/delta/_delta_log/00000000000000000000.json"]
    assert bucket.rows() == live(store)
    assert report.rows == len(live(store))
    assert report.place == "s3://bucket/bars/objects/delta"


def test_days_that_are_in_no_month_object_are_copied_once(bucket: Bucket, store: Pipeline) -> None:
    first = store.publish_delta()
    assert (first.copied, first.objects) == (len(DATES), len(DATES))
    assert bucket.rows() == live(store)

    again = store.publish_delta()
    assert (again.version, again.added, again.removed, again.copied) == (0, 0, 0, 0)

    correct(bucket, store)
    third = store.publish_delta()
    assert (third.version, third.added, third.removed, third.copied) == (1, 1, 1, 1)
    assert bucket.rows() == live(store)

    store.compact()
    bucket.clock.advance(60)
    last = store.publish_delta()
    assert (last.version, last.objects, last.copied) == (2, 2, 0)
    assert bucket.rows() == live(store)


def test_a_correction_of_a_compacted_day_doubles_no_row(bucket: Bucket, store: Pipeline) -> None:
    store.compact()
    store.publish_delta()
    before = bucket.rows()
    correct(bucket, store)

    report = store.publish_delta()

    assert (report.added, report.removed) == (3, 1)  # days of MSFT, and the month files that are left of the object
    assert bucket.rows() == live(store) != before
    assert bucket.rows(version=0) == before


COLUMNS = ["symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap"]
Rows = list[tuple[Any, ...]]
READERS: dict[str, Callable[[Path, str], Rows]] = {}


def reader(read: Callable[[Path, str], Rows]) -> Callable[[Path, str], Rows]:
    READERS[read.__name__] = read
    return read


@reader
def polars(table: Path, symbol: str) -> Rows:
    pl = pytest.importorskip("polars")
    return list(pl.scan_delta(str(table)).filter(pl.col("symbol") == symbol).select(COLUMNS).collect().rows())


@reader
def pandas(table: Path, symbol: str) -> Rows:
    frame = deltalake.DeltaTable(str(table)).to_pandas(filters=[("symbol", "=", symbol)])
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    columns = [frame[name] for name in COLUMNS]
    return list(zip(*(column.where(column.notna(), None).tolist() for column in columns), strict=True))


@reader
def duckdb_over_arrow(table: Path, symbol: str) -> Rows:
    bars = deltalake.DeltaTable(str(table)).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("bars", bars)
        return connection.sql(f"SELECT {', '.join(COLUMNS)} FROM bars WHERE symbol = '{symbol}'").fetchall()


@reader
def datafusion(table: Path, symbol: str) -> Rows:
    builder = deltalake.QueryBuilder().register("bars", deltalake.DeltaTable(str(table)))
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    found = builder.execute(
        f"SELECT {columns} FROM bars WHERE symbol = '{symbol}' AND trading_date < '2025-01-01'"
    ).read_all()
    return [tuple(row) for row in zip(*(found.column(name).to_pylist() for name in COLUMNS), strict=True)]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("compacted", [False, True])
def test_readers_get_the_bars_of_a_symbol_as_load_gives_them(
    bucket: Bucket, store: Pipeline, read: Callable[[Path, str], Rows], compacted: bool
) -> None:
    if compacted:
        store.compact()
    store.publish_delta()
    loaded = store.load("BRK.B", DATES[0], DATES[-1]).select(COLUMNS).to_pylist()
    assert sorted(read(bucket.table, "BRK.B"), key=lambda row: row[1]) == [tuple(row.values()) for row in loaded]


def test_the_log_is_as_readers_of_version_one_want_it(bucket: Bucket, store: Pipeline) -> None:
    """What Spark demands: it is not tried here, as its package of Delta is not in any registry of Python."""
    store.compact()
    store.publish_delta()
    lines = (bucket.table / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    found: dict[str, Any] = {kind: action for line in lines for kind, action in json.loads(line).items()}
    assert found["protocol"]["minReaderVersion"] == 1
    assert "readerFeatures" not in found["protocol"]
    schema = json.loads(found["metaData"]["schemaString"])
    assert [field["name"] for field in schema["fields"]][:3] == ["symbol", "trading_date", "timestamp"]
    assert {field["type"] for field in schema["fields"]} == {"string", "date", "timestamp", "double", "long", "integer"}
    # A path is a URI relative to the table: nothing of ours has to be encoded.
    assert re.fullmatch(r"[0-9a-z-]+\.parquet", found["add"]["path"])
    assert (found["add"]["partitionValues"], found["metaData"]["partitionColumns"]) == ({}, [])
    assert {*json.loads(found["add"]["stats"])} == {"numRecords", "minValues", "maxValues", "nullCount"}


def test_readers_skip_objects_by_their_statistics(bucket: Bucket, store: Pipeline) -> None:
    store.compact()
    store.publish_delta()
    table = deltalake.DeltaTable(str(bucket.table))
    stats = table.get_add_actions(flatten=True)
    found = {name: sorted(map(str, stats[name].to_pylist())) for name in ("min.trading_date", "max.trading_date")}
    assert found == {"min.trading_date": [DATES[0], DATES[2]], "max.trading_date": [DATES[1], DATES[3]]}
    assert sum(stats["num_records"].to_pylist()) == len(live(store))


def test_other_programs_cannot_write_to_the_table(bucket: Bucket, store: Pipeline) -> None:
    store.compact()
    store.publish_delta()
    table = deltalake.DeltaTable(str(bucket.table))
    with pytest.raises(Exception, match="features required"):
        table.optimize.compact()
    with pytest.raises(Exception, match="features required"):
        deltalake.write_deltalake(table, table.to_pyarrow_table(), mode="overwrite")
    assert bucket.rows() == live(store)


def test_gc_keeps_what_the_table_names_and_named_a_day_ago(bucket: Bucket, store: Pipeline) -> None:
    store.publish_delta()  # of copies
    former = bucket.rows()
    correct(bucket, store)
    store.compact()
    bucket.collect()
    assert bucket.rows() == former
    store.publish_delta()
    bucket.collect()

    assert bucket.rows() == live(store) != former
    assert bucket.rows(version=0) == former

    bucket.clock.advance(DAY.total_seconds() + 60)
    store.publish_delta()
    bucket.collect()
    assert bucket.rows() == live(store)
    with pytest.raises(OSError, match="not found"):
        bucket.rows(version=0)


@pytest.mark.parametrize("key", ["objects/delta/_delta_log", "objects/delta/"])
def test_a_publisher_that_is_killed_leaves_a_table_that_the_next_one_carries_on(
    bucket: Bucket, store: Pipeline, key: str
) -> None:
    store.publish_delta()
    correct(bucket, store)
    bucket.kill_at = key
    with bucket.open() as dying, pytest.raises(Killed):
        dying.publish_delta()

    bucket.clock.advance(60)
    with bucket.open() as other:
        other.publish_delta()
        assert bucket.rows() == live(other)
    assert len([*(bucket.table / "_delta_log").iterdir()]) == 2


def test_two_versions_are_ten_seconds_apart(bucket: Bucket, store: Pipeline) -> None:
    store.publish_delta()
    bucket.provider.bars["MSFT"][DATES[1]] = minutes(DATES[1], 5, price=300.0)
    store.audit(SYMBOLS, DATES[0], DATES[-1], adopt=True)
    store.publish_delta()
    logs = sorted((bucket.table / "_delta_log").iterdir())
    moments = [json.loads(path.read_text().splitlines()[0])["commitInfo"]["timestamp"] for path in logs]
    assert moments[1] - moments[0] >= 10_000


def test_a_store_that_is_never_published_keeps_no_notes_after_gc(bucket: Bucket, store: Pipeline) -> None:
    catalog = file_catalog(store._parts)
    assert catalog.has_any("tables/changed")
    bucket.collect()
    assert not catalog.has_any("tables/changed")
    store.publish_delta()
    correct(bucket, store)
    bucket.collect()
    assert catalog.has_any("tables/changed")
    store.publish_delta()
    assert not catalog.has_any("tables/changed")
    assert bucket.rows() == live(store)


@pytest.mark.parametrize(
    ("purpose", "holder"), [(TABLE, "a publish-delta or copy"), (GC, "a gc, recover, publish-delta or copy")]
)
def test_one_at_a_time_publishes_and_not_beside_a_collection(
    bucket: Bucket, store: Pipeline, purpose: str, holder: str
) -> None:
    with (
        store_lock(store._parts, purpose, waits=False).acquired(),
        bucket.open() as other,
        pytest.raises(StoreBusyError, match=f"{holder} of this store is running"),
    ):
        other.publish_delta()


def test_a_lost_state_is_made_again_beside_the_log_of_a_table(bucket: Bucket, store: Pipeline) -> None:
    bucket.clock.advance(60)  # objects are applied in the order of their moments
    store.compact()
    store.publish_delta()
    bars = live(store)
    store.close()
    bucket.lose_state()
    with bucket.open() as other:
        other.recover()
        assert live(other) == bars
        bucket.clock.advance(60)
        report = other.publish_delta()
        assert (report.version, report.ok, report.objects, report.copied) == (0, True, 2, 0)
        assert bucket.rows() == bars
        correct(bucket, other)
        assert other.publish_delta().version == 1
        assert bucket.rows() == live(other) != bars


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_gc_keeps_the_table_also_after_the_state_was_lost(bucket: Bucket, store: Pipeline, with_snapshot: bool) -> None:
    """Copies are in the log of the table and in no file; objects that have left it are kept for a day, as ever."""
    store.publish_delta()
    former = bucket.rows()
    if with_snapshot:
        bucket.collect()
    correct(bucket, store)
    store.publish_delta()
    store.close()
    bucket.lose_state()
    with bucket.open() as other:
        other.recover()
    bucket.collect()

    with bucket.open() as other:
        assert bucket.rows() == live(other) != former
        assert bucket.rows(version=0) == former
        other.compact()
        bucket.clock.advance(DAY.total_seconds() + 60)
        assert other.publish_delta().version == 2
        assert bucket.rows() == live(other)
    bucket.collect()
    with bucket.open() as other:
        assert bucket.rows() == live(other)


def test_what_was_changed_after_the_snapshot_of_a_lost_state_is_published(bucket: Bucket, store: Pipeline) -> None:
    store.publish_delta()
    bucket.collect()  # puts a snapshot, which knows what the table consists of
    correct(bucket, store)
    bars = live(store)
    store.close()
    for path in (bucket.root / "state").iterdir():
        path.unlink()
    with bucket.open() as other:
        other.recover()
        bucket.clock.advance(60)
        other.publish_delta()
        assert bucket.rows() == live(other) == bars


def test_a_store_on_a_disk_is_not_published(tmp_path: Path) -> None:
    on_disk = pipeline(config(tmp_path, SYMBOLS, DATES[0], DATES[-1]), ScriptedProvider({}), FakeClock())
    with on_disk as made, pytest.raises(ConfigurationError, match="is on a disk"):
        made.publish_delta()


def test_a_bucket_without_bars_is_not_published(bucket: Bucket) -> None:
    with bucket.open() as made, pytest.raises(ConfigurationError, match="s3://bucket/bars has no minute bars"):
        made.publish_delta()
