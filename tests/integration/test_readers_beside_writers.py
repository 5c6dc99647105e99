"""Readers in a loop while days come, are restated and aggregated: none ever fails, none ever sees half a day.

A day has three versions: none, a first one and a restated one, of different lengths and prices. DuckDB by itself opens
a file more than once, and would not notice a replacement in between: it reads beside days that come. What reads by
DuckDB here (query, and the past of aggregates) looks whether a file was replaced, and reads again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from prometheus_client import CollectorRegistry

from marketpipe import Pipeline, PipelineConfig, load_ohlcv
from tests.support.examples import ALL, some, tries_more
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

SYMBOLS, DAYS = ("AAPL", "MSFT"), (TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)
FIRST, RESTATED = (60, 100.0), (40, 5000.0)
RESTATEMENTS = range(4 if ALL else 2, 40)
"""At least so many, and more until all readers have seen all versions; at most so many."""
Write = Callable[[Path, Callable[[], bool]], None]
Version = tuple[int, float, float]
"""Bars, and the lowest and the highest open."""


def _bars(version: tuple[int, float], days: tuple[str, ...] = DAYS) -> dict[str, dict[str, list[Row]]]:
    count, price = version
    return {symbol: {day: minutes(day, count, price=price) for day in days} for symbol in SYMBOLS}


def _version(rows: list[Row]) -> Version:
    opens = [row["open"] for row in rows]
    return len(opens), min(opens), max(opens)


WHOLE = {_version(minutes(TUESDAY, count, price=price)) for count, price in (FIRST, RESTATED)}
FIVE_MINUTES = {(-(-count // 5), price, price + 5 * (-(-count // 5) - 1) / 4) for count, price in (FIRST, RESTATED)}


def _by_dataset(root: Path) -> pa.Table:
    return ds.dataset(root / "data", partitioning="hive").to_table(columns=["symbol", "timestamp", "open"])


def _by_dataset_with_a_filter(root: Path) -> pa.Table:
    """Arrow looks at the statistics in the footers before it reads."""
    return ds.dataset(root / "data", partitioning="hive").to_table(
        columns=["symbol", "timestamp", "open"], filter=ds.field("open") > 0.0
    )


def _by_duckdb(root: Path) -> pa.Table:
    with duckdb.connect() as connection:
        return connection.sql(
            f"SELECT symbol, timestamp, open FROM read_parquet('{root}/data/**/*.parquet', hive_partitioning = true)"
        ).to_arrow_table()


def _by_load(root: Path) -> pa.Table:
    return load_ohlcv(SYMBOLS, DAYS[0], DAYS[-1], root=root)


def _by_load_of_a_moment(root: Path) -> pa.Table:
    return load_ohlcv(SYMBOLS, DAYS[0], DAYS[-1], root=root, as_of="2030-01-01T00:00:00Z")


def _by_query(root: Path) -> pa.Table:
    with pipeline(config(root, SYMBOLS, DAYS[0], DAYS[-1]), ScriptedProvider()) as one:
        return one.query("SELECT symbol, timestamp, open FROM bars")


def _by_load_of_aggregates(root: Path) -> pa.Table:
    return load_ohlcv(SYMBOLS, DAYS[0], DAYS[-1], root=root, timeframe="5m")


Readers = Mapping[str, tuple[Callable[[Path], pa.Table], set[Version]]]
READERS: Readers = {
    "pyarrow": (_by_dataset, WHOLE),
    "pyarrow, filtered": (_by_dataset_with_a_filter, WHOLE),
    "load_ohlcv": (_by_load, WHOLE),
    "load_ohlcv of a moment": (_by_load_of_a_moment, WHOLE),
    "query": (_by_query, WHOLE),
    "load_ohlcv of aggregates": (_by_load_of_aggregates, FIVE_MINUTES),
}
BESIDE_NEW_DAYS: Readers = {**READERS, "duckdb": (_by_duckdb, WHOLE)}


def _versions(table: pa.Table) -> set[Version]:
    days = table.set_column(0, "symbol", table["symbol"].cast(pa.string()))
    days = days.append_column("day", pc.strftime(table["timestamp"], "%Y-%m-%d"))
    found = days.group_by(["symbol", "day"]).aggregate([("open", "count"), ("open", "min"), ("open", "max")])
    return set(zip(*(found[f"open_{what}"].to_pylist() for what in ("count", "min", "max")), strict=True))


def _add(root: Path, _: Callable[[], bool]) -> None:
    with _pipeline(_settings(root), ScriptedProvider(_bars(FIRST))) as first:
        for day in DAYS[1:]:
            for symbol in SYMBOLS:
                assert first.ingest(symbol, day, day).ok


def _restate(root: Path, seen_by_all: Callable[[], bool]) -> None:
    """Forth and back."""
    first, restated = (_pipeline(_settings(root), ScriptedProvider(_bars(version))) for version in (FIRST, RESTATED))
    with first, restated:
        assert first.ingest().ok
        for turn in range(RESTATEMENTS.stop):
            if turn >= RESTATEMENTS.start and seen_by_all():
                break
            report = (first if turn % 2 else restated).audit(SYMBOLS, DAYS[0], DAYS[-1], adopt=True)
            assert report.adopted is not None
            assert report.adopted.ok
        assert restated.verify().ok


def _settings(root: Path) -> PipelineConfig:
    return config(root, SYMBOLS, DAYS[0], DAYS[-1], timeframes=["5m"])


def _pipeline(settings: PipelineConfig, provider: ScriptedProvider) -> Pipeline:
    """With the machine's clock: DuckDB tells the versions of a file from each other by their times, in seconds."""
    return Pipeline(settings, registry=CollectorRegistry(), market_data_provider=provider)


@tries_more
@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "readers", "versions"), some([(_restate, READERS, {FIRST, RESTATED}), (_add, BESIDE_NEW_DAYS, {FIRST})])
)
def test_readers_never_fail_and_never_see_half_a_day(
    tmp_path: Path, write: Write, readers: Readers, versions: set[tuple[int, float]]
) -> None:
    def seen_by_all() -> bool:
        return {len(found) for found in seen.values()} == {len(versions)}

    with _pipeline(_settings(tmp_path), ScriptedProvider(_bars(FIRST))) as one:
        assert one.ingest(SYMBOLS, DAYS[0], DAYS[0]).ok
    seen = {name: set[Version]() for name in readers}
    writing = threading.Thread(target=write, args=(tmp_path, seen_by_all))

    def read(name: str) -> None:
        reader, whole = readers[name]
        while writing.is_alive():
            found = _versions(reader(tmp_path).select(["symbol", "timestamp", "open"]))
            assert found <= whole, name
            seen[name] |= found

    with ThreadPoolExecutor(len(readers)) as threads:
        writing.start()
        for done in [threads.submit(read, name) for name in readers]:
            done.result(120)

    assert seen_by_all()
