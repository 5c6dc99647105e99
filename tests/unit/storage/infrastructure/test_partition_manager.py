"""What the Parquet store promises beyond the port: bytes, metadata, files. The port's promises: tests/contract."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import define, evolve

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.storage.infrastructure.day_versions import NewVersion
from marketpipe.storage.infrastructure.inventory.stored_files import ParquetStoredFiles
from marketpipe.storage.infrastructure.parquet_files import read_metadata, sha256
from marketpipe.storage.infrastructure.publishing.durable_files import SameThread
from marketpipe.testing import bar, bar_table
from tests.support.bar_stores import at, word
from tests.support.builders import CALENDAR, columnar, day
from tests.support.store_on_disk import NOTHING, NothingRecorded, StoreOnDisk, tree

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
DAY_FILE = "data/symbol=AAPL/year=2024/month=01/day=02.parquet"
QUARANTINE_FILE = "quarantine/symbol=AAPL/year=2024/month=01/day=02.parquet"
MINUTES = [at(minute, 100 + minute / 7, trade_count=None if minute % 3 else 5) for minute in range(390)]


def test_a_symbol_day_is_one_file_with_its_metadata(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path).keep((AAPL, MINUTES))

    assert sorted(tree(tmp_path)) == [DAY_FILE]
    assert read_metadata(tmp_path / DAY_FILE) == {
        "marketpipe.symbol": "AAPL",
        "marketpipe.trading_date": "2024-01-02",
        "marketpipe.timeframe": "1m",
        "marketpipe.provider": "alpaca",
        "marketpipe.feed": "sip",
        "marketpipe.adjustment": "raw",
        "marketpipe.schema_version": "1",
    }


def test_the_result_describes_the_bytes_on_disk(tmp_path: Path) -> None:
    (result,) = StoreOnDisk(tmp_path).keep((AAPL, MINUTES))

    content = (tmp_path / DAY_FILE).read_bytes()
    assert (result.size_bytes, result.sha256) == (len(content), sha256(content))


def test_the_figures_are_those_of_the_file_however_its_bars_came(tmp_path: Path) -> None:
    shuffled = MINUTES.copy()
    Random(7).shuffle(shuffled)
    ways = [[MINUTES], [shuffled], [MINUTES[:100], MINUTES[50:]], [MINUTES[200:], [], MINUTES[:200]]]
    stores = [StoreOnDisk(tmp_path / str(number)) for number in range(len(ways))]

    written = [
        [store.keep((AAPL, some), (MSFT, MINUTES[:1]), whole=False)[0] for some in parts][-1]
        for store, parts in zip(stores, ways, strict=True)
    ]

    expected = FigureCalculator(CALENDAR).of_day(AAPL.trading_date, bar_table(MINUTES))
    assert expected is not None
    assert [result.figures for result in written] == [expected] * len(ways)
    for store in stores:
        files = ParquetStoredFiles(store.layout, SameThread, FigureCalculator(CALENDAR))
        assert [found.figures for found in files.stored_days(AAPL.symbol, store.identity)] == [expected]


def test_nothing_of_a_write_waits_for_the_garbage_collector(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    gc.collect()
    gc.disable()
    try:
        store.keep((AAPL, MINUTES), (MSFT, MINUTES))
        left = [each for each in gc.get_objects() if isinstance(each, NewVersion)]
    finally:
        gc.enable()

    assert left == []  # each has the bytes of a file


@pytest.mark.parametrize("compression", ["zstd", "snappy"])
def test_the_same_bars_give_the_same_bytes_whatever_way_they_came(tmp_path: Path, compression: str) -> None:
    shuffled = MINUTES.copy()
    Random(7).shuffle(shuffled)
    at_once, shuffled_store, bit_by_bit, corrected = (
        StoreOnDisk(tmp_path / name, compression=compression) for name in "abcd"
    )

    at_once.keep((AAPL, MINUTES))
    shuffled_store.keep((AAPL, shuffled))
    for start in (200, 0, 300, 100):
        bit_by_bit.keep((AAPL, MINUTES[start : start + 100]), whole=False)
    corrected.keep((AAPL, [at(0, 1.0), at(400)]))
    corrected.keep((AAPL, MINUTES))

    contents = {(store.root / DAY_FILE).read_bytes() for store in (at_once, shuffled_store, bit_by_bit, corrected)}
    assert len(contents) == 1


def test_both_compressions_hold_the_same_bars(tmp_path: Path) -> None:
    zstd, snappy = (StoreOnDisk(tmp_path / name, compression=name) for name in ("zstd", "snappy"))
    for store in (zstd, snappy):
        store.keep((AAPL, MINUTES))

    assert zstd.rows(zstd.path(AAPL)) == snappy.rows(snappy.path(AAPL)) == MINUTES


def test_neighbours_in_a_batch_do_not_show_in_a_file(tmp_path: Path) -> None:
    alone, between = StoreOnDisk(tmp_path / "alone"), StoreOnDisk(tmp_path / "between")

    alone.keep((AAPL, MINUTES))
    between.keep((day("A", "2024-01-02"), [at(3)]), (AAPL, MINUTES), (MSFT, [at(5)]))

    assert between.path(AAPL).read_bytes() == alone.path(AAPL).read_bytes()


def test_rejected_bars_keep_their_reasons_and_raw_values(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    words = {
        "rule": "high_below_low",
        "severity": "error",
        "reason": "the bar has its high below its low",
        "raw": '{"h":-1}',
    }
    rejected = bar_table([at(0, -1.0), at(1, -2.0)])
    for name, text in words.items():
        rejected = rejected.append_column(name, pa.array([text, None]))

    store.partitions.store(columnar((AAPL, [])), ArrowBars(rejected, (SymbolDaySlice(AAPL, 0, 2),)))

    assert sorted(tree(tmp_path)) == [QUARANTINE_FILE]
    found = pq.ParquetFile(tmp_path / QUARANTINE_FILE).read()
    assert found.equals(rejected)
    assert read_metadata(tmp_path / QUARANTINE_FILE)["marketpipe.trading_date"] == "2024-01-02"


def test_rejected_bars_without_a_time_do_not_stop_the_others(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0), at(1)]))

    (result,) = store.partitions.store(columnar((AAPL, [at(0)])), columnar((AAPL, [{**at(1), "timestamp": None}])))

    assert (result.rows, result.rejected) == (1, 1)
    assert store.rows(store.path(AAPL)) == [at(0)]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all" * 100])
def test_a_damaged_file_is_kept_and_named(tmp_path: Path, content: bytes) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    (tmp_path / DAY_FILE).write_bytes(content)

    damaged, sound = store.keep((AAPL, [at(1)]), (MSFT, [at(1)]), whole=False)

    assert f"{tmp_path / DAY_FILE} is damaged" in str(damaged.error)
    assert (tmp_path / DAY_FILE).read_bytes() == content
    assert (sound.error, store.rows(store.path(MSFT))) == (None, [at(1)])


def test_a_file_that_another_program_rewrote_fails_alone(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    nanoseconds = bar_table([at(0)]).set_column(
        0, "timestamp", bar_table([at(0)])["timestamp"].cast(pa.timestamp("ns", "UTC"))
    )
    pq.write_table(nanoseconds, tmp_path / DAY_FILE)

    foreign, sound = store.keep((AAPL, [at(1)]), (MSFT, [at(1)]), whole=False)

    assert "not a file of bars" in str(foreign.error)
    assert (sound.rows, sound.error) == (1, None)


@pytest.mark.parametrize("copied", ["day=03.parquet", "../../../symbol=MSFT/year=2024/month=01/day=02.parquet"])
def test_a_file_with_the_metadata_of_another_is_replaced_and_not_merged(tmp_path: Path, copied: str) -> None:
    store, wednesday = StoreOnDisk(tmp_path), day("AAPL", "2024-01-03")
    store.keep((AAPL, [at(0)]), (MSFT, [at(5)]), (wednesday, [bar("2024-01-03T15:00:00Z")]))
    content = ((tmp_path / DAY_FILE).parent / copied).read_bytes()
    (tmp_path / DAY_FILE).write_bytes(content)

    (suspect,) = store.keep((AAPL, [at(1)]), whole=False)
    assert "its path AAPL 1m 2024-01-02 of provider alpaca" in str(suspect.error)
    assert (tmp_path / DAY_FILE).read_bytes() == content

    (replaced,) = store.keep((AAPL, [at(1)]))
    assert (replaced.error, store.rows(store.path(AAPL))) == (None, [at(1)])


def test_a_path_blocked_by_a_file_holds_up_its_own_symbol_day_alone(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    (tmp_path / "data" / "symbol=AAPL").parent.mkdir()
    (tmp_path / "data" / "symbol=AAPL").write_bytes(b"in the way")

    blocked, sound = store.keep((AAPL, [at(0)]), (MSFT, [at(1)]))

    assert (blocked.symbol_day, blocked.rows, blocked.sha256, blocked.final) == (AAPL, 0, None, False)
    assert "symbol=AAPL" in str(blocked.error)
    assert (sound.symbol_day, sound.error) == (MSFT, None)
    assert store.rows(store.path(MSFT)) == [at(1)]


@pytest.mark.parametrize("days", [(AAPL,), (AAPL, day("AAPL", "2024-01-03"))])
def test_where_nothing_can_be_stored_that_is_an_error_and_nothing_is_lost(tmp_path: Path, days: Any) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((MSFT, [at(0)]))
    (tmp_path / "data" / "symbol=AAPL").write_bytes(b"in the way")
    before = tree(tmp_path / "data")

    with pytest.raises(StorageError, match="symbol=AAPL"):
        store.keep(*((each, [at(0)]) for each in days))

    assert tree(tmp_path / "data") == before


@define
class OneFile(NothingRecorded):
    """Remembers what was told of a single symbol-day."""

    told: StoredSymbolDay

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> dict[TradingDate, RecordedVersion]:
        assert self.told.mark is not None
        assert self.told.sha256 is not None
        file = RecordedVersion(self.told.mark, self.told.known_since, self.told.sha256)
        return {self.told.symbol_day.trading_date: file}


def test_a_rotten_file_that_can_be_read_is_not_merged_with_what_comes(tmp_path: Path) -> None:
    """A flipped bit may move a bar to where no new word reaches, such as into the night."""
    store, rotten = StoreOnDisk(tmp_path / "store"), StoreOnDisk(tmp_path / "rotten")
    (told,) = store.keep((AAPL, [at(0)]))
    rotten.keep((AAPL, [at(-480), at(0)]), whole=False)
    look = store.path(AAPL).stat()
    store.path(AAPL).write_bytes(rotten.path(AAPL).read_bytes())
    os.utime(store.path(AAPL), ns=(look.st_atime_ns, look.st_mtime_ns))

    (healed,) = evolve(store, register=OneFile(told)).keep((AAPL, [at(0)]))

    assert store.rows(store.path(AAPL)) == [at(0)]
    assert healed.sha256 == told.sha256
    assert list(store.layout.revisions.rglob("*.parquet")) == []


def test_workers_may_store_at_once(tmp_path: Path) -> None:
    partitions = StoreOnDisk(tmp_path).partitions
    symbols = [day(symbol, "2024-01-02") for symbol in ("A", "B", "C", "D")]
    failed: list[Any] = []

    def work(symbol_day: Any) -> None:
        found = [partitions.store(word(symbol_day, [at(minute)], None), NOTHING) for minute in range(5)]
        failed.extend(result for (result,) in found if result.error)

    threads = [threading.Thread(target=work, args=(symbol_day,)) for symbol_day in symbols]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    store = StoreOnDisk(tmp_path)
    assert failed == []
    assert [store.rows(store.path(each)) for each in symbols] == [[at(minute) for minute in range(5)]] * 4
