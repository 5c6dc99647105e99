"""A store made by the last version of MarketPipe without version marks and version indexes: it opens unchanged.

tests/fixtures/store_before_versions holds it, with the times of its files: two symbols on four days from the synthetic
provider, aggregates, a revision of AAPL 2024-11-26 from an audit, a state of schema version 3, every config key.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc
import pytest

from marketpipe import DaySource, load_ohlcv
from marketpipe.storage.infrastructure.day_versions import file_mark
from tests.support.in_process_cli import Ended, run_in_process

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "store_before_versions" / "store.tar.gz"
BEFORE_IT, ONCE, NOW = "2026-11-28T21:51:30Z", "2026-11-28T21:51:32Z", "2026-11-28T21:51:34Z"
VOLUMES = {BEFORE_IT: None, ONCE: 44_629_408.0, NOW: 44_629_112.0, None: 44_629_112.0}
OFFICIAL_VOLUME = 45_105_487.0
"""Of the exchange's own days, once they have been asked for: it counts all hours."""
ROWS = {"1m": 2163, "1h": 50, "1d": 8}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
        for member in archive.getmembers():  # tarfile itself keeps times as floats, which are too coarse
            modified_ns = int(Decimal(member.pax_headers["mtime"]) * 1_000_000_000)
            os.utime(folder / member.name, ns=(modified_ns, modified_ns))
    return folder


def run(store: Path, *words: str) -> Ended:
    return run_in_process(*words, "--config", "config.yaml", cwd=store)


def check_bars(store: Path) -> None:
    for as_of, volume in VOLUMES.items():
        for timeframe, rows in ROWS.items():
            bars = load_ohlcv(["AAPL", "BRK.B"], "2024-11-25", "2024-11-29", timeframe, root=store, as_of=as_of)
            is_official = timeframe == "1d" and DaySource.OFFICIAL.value in bars["source"].to_pylist()
            total = OFFICIAL_VOLUME if is_official else volume
            assert (bars.num_rows, pc.sum(bars["volume"]).as_py()) == (rows if volume else 0, total)


def asked(store: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(store / "state" / "marketpipe.sqlite")) as state:
        return state.execute(sql).fetchall()


def times(store: Path) -> dict[str, int]:
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.rglob("*.parquet")}


def test_every_command_and_every_load_answers_as_before(store: Path) -> None:
    before = times(store)

    verified, status, coverage, plan = (run(store, word) for word in ("verify", "status", "coverage", "plan"))

    assert (verified.code, status.code, coverage.code, plan.code) == (0, 0, 0, 0)
    assert "13 files" in verified.out
    assert "dataset: provider synthetic, feed seed-7, adjustment raw, session regular" in status.out
    assert "1,046" in status.out
    assert "2 symbols, 4 sessions, 2024-11-25 to 2024-11-29: complete" in coverage.out
    assert plan.out.startswith("0 symbol-days ")
    check_bars(store)
    assert times(store) == before


def test_the_state_is_migrated_and_marks_the_files_as_they_are(store: Path) -> None:
    assert asked(store, "PRAGMA user_version") == [(3,)]

    assert run(store, "ingest").code == 0

    assert asked(store, "PRAGMA user_version") == [(8,)]
    found = asked(store, "SELECT symbol, trading_date, mark FROM partitions")
    assert len(found) == 8
    for symbol, date, mark in found:
        look = (store / f"data/symbol={symbol}/year=2024/month=11/day={str(date)[-2:]}.parquet").stat()
        assert mark == file_mark(look.st_size, look.st_mtime_ns)
    check_bars(store)


def test_an_ingestion_that_stores_something_writes_the_index_of_all_days(store: Path, tmp_path: Path) -> None:
    assert run(store, "ingest", "--end", "2024-12-02").code == 0
    check_bars(store)
    assert run(store, "verify").code == 0

    copy = tmp_path / "copy"
    shutil.copytree(store, copy, copy_function=shutil.copyfile)

    check_bars(copy)
    assert run(copy, "plan").out.startswith("0 symbol-days ")
    check_bars(copy)
    assert run(copy, "verify").code == 0


def test_a_lost_state_is_recovered_and_an_ingestion_asks_for_nothing(store: Path) -> None:
    shutil.rmtree(store / "state")

    assert run(store, "recover").code == 0

    assert run(store, "plan").out.startswith("0 symbol-days ")
    check_bars(store)


def test_a_lost_state_of_a_copy_without_times_is_recovered_from_the_index(store: Path, tmp_path: Path) -> None:
    assert run(store, "ingest", "--end", "2024-12-02").code == 0
    since = asked(store, "SELECT symbol, trading_date, known_since FROM partitions ORDER BY 1, 2")
    copy = tmp_path / "copy"
    shutil.copytree(store, copy, copy_function=shutil.copyfile)
    shutil.rmtree(copy / "state")

    assert run(copy, "recover").code == 0

    assert asked(copy, "SELECT symbol, trading_date, known_since FROM partitions ORDER BY 1, 2") == since
    check_bars(copy)
