"""Bars as of a moment: minutes as they were, and every other timeframe as it was made of them then."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.domain.integrity import FROM_A_BACKUP
from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.child_processes import run
from tests.support.store_on_disk import StoreOnDisk
from tests.support.system_calls import SystemCalls

AAPL = day("AAPL", "2024-01-02")
NOON = Timestamp.parse("2025-06-02T12:00:00Z")
"""When the clock starts."""
MINUTES_AND_HOURS = (Timeframe.MINUTE_1, Timeframe.HOUR_1)


def after(seconds: float) -> Timestamp:
    return NOON.plus(timedelta(seconds=seconds))


def load(
    loader: BarLoader,
    as_of: Timestamp | None,
    timeframe: Timeframe = Timeframe.MINUTE_1,
    first: str = "2024-01-01",
    last: str = "2024-03-31",
    symbols: str = "AAPL",
) -> pa.Table:
    chosen = [Symbol(symbol) for symbol in symbols.split()]
    return loader.load(chosen, TradingDate.parse(first), TradingDate.parse(last), timeframe, as_of)


def prices(loader: BarLoader, as_of: Timestamp | None, timeframe: Timeframe = Timeframe.MINUTE_1) -> list[float]:
    found: list[float] = load(loader, as_of, timeframe)["open"].to_pylist()
    return found


def exactly(bars: pa.Table) -> str:
    """Tells NaN from null and -0.0 from 0.0, and any two doubles apart."""
    return f"{bars.schema} {bars.to_pylist()}"


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    """One bar, whose price was 100 at first, 101 after a minute, and 102 after two."""
    store = StoreOnDisk(tmp_path / "store")
    for price in (100.0, 101.0, 102.0):
        store.keep((AAPL, [at(0, price)]))
        store.clock.advance(60)
    return store


@pytest.mark.parametrize("timeframe", MINUTES_AND_HOURS)
@pytest.mark.parametrize(
    ("seconds", "known"),
    [(-1e-6, []), (0, [100.0]), (59.999999, [100.0]), (60, [101.0]), (119.999999, [101.0]), (120, [102.0])],
)
def test_a_version_is_known_from_its_moment_until_the_next(
    store: StoreOnDisk, timeframe: Timeframe, seconds: float, known: list[float]
) -> None:
    assert prices(store.loader, after(seconds), timeframe) == known


def test_now_is_the_past_of_any_later_moment(store: StoreOnDisk) -> None:
    assert exactly(load(store.loader, after(1e9))) == exactly(load(store.loader, None))


def test_each_symbol_day_has_a_past_of_its_own(store: StoreOnDisk) -> None:
    store.keep((day("AAPL", "2024-01-03"), [at(1440, 200.0)]), (day("MSFT", "2024-01-02"), [at(0, 300.0)]))
    store.clock.advance(60)
    store.keep((AAPL, [at(0, 103.0)]), (day("MSFT", "2024-01-02"), [at(0, 301.0)]))

    moments = (after(seconds) for seconds in (179, 180, 240))
    found = [load(store.loader, moment, symbols="MSFT AAPL")["open"].to_pylist() for moment in moments]

    assert found == [[102.0], [300.0, 102.0, 200.0], [301.0, 103.0, 200.0]]


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_a_past_without_bars_has_the_columns(store: StoreOnDisk, timeframe: Timeframe) -> None:
    found = load(store.loader, after(-1), timeframe)

    assert found.num_rows == 0
    assert found.schema.equals(load(store.loader, None, timeframe).schema)


def test_a_past_is_cut_to_the_trading_dates(store: StoreOnDisk) -> None:
    store.keep((day("AAPL", "2024-01-03"), [at(1440, 200.0)]), (day("AAPL", "2024-02-01"), [at(43_200, 300.0)]))

    for timeframe in (*MINUTES_AND_HOURS, Timeframe.DAY_1):
        found = load(store.loader, after(180), timeframe, "2024-01-03", "2024-01-31")
        assert found["open"].to_pylist() == [200.0]


def test_a_revision_that_equals_the_file_brings_no_bar_twice(store: StoreOnDisk) -> None:
    left_by_a_crash = store.layout.revision(Revision(AAPL, after(120)))
    os.link(store.path(AAPL), left_by_a_crash)

    assert [prices(store.loader, after(seconds)) for seconds in (119, 120)] == [[101.0], [102.0]]


def test_what_was_known_before_a_file_was_removed_is_still_known(store: StoreOnDisk) -> None:
    store.path(AAPL).unlink()

    assert prices(store.loader, after(60)) == [101.0]
    assert prices(store.loader, None) == []


def test_a_copy_with_its_times_keeps_the_past(store: StoreOnDisk, tmp_path: Path) -> None:
    copy = StoreOnDisk(shutil.copytree(store.root, tmp_path / "copy"))

    assert [prices(copy.loader, after(seconds)) for seconds in (59, 60, 120)] == [[100.0], [101.0], [102.0]]


def test_a_copy_without_times_and_index_knows_its_newest_bars_since_the_copy_only(
    store: StoreOnDisk, tmp_path: Path
) -> None:
    copy = StoreOnDisk(shutil.copytree(store.root, tmp_path / "copy", copy_function=shutil.copyfile))
    copy.layout.version_index(AAPL.symbol).unlink()

    assert [prices(copy.loader, after(seconds)) for seconds in (59, 60, 120)] == [[100.0], [101.0], [101.0]]
    assert prices(copy.loader, Timestamp.parse("9999-01-01T00:00:00Z")) == [102.0]


@pytest.mark.parametrize("timeframe", MINUTES_AND_HOURS)
@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_a_damaged_version_is_an_error_if_it_is_asked_for(store: StoreOnDisk, timeframe: Timeframe, size: int) -> None:
    path = store.layout.revision(Revision(AAPL, after(60)))
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(PartitionUnreadableError, match="AAPL between 2024-01-01 and 2024-03-31 is damaged") as raised:
        load(store.loader, after(60), timeframe)
    assert str(raised.value).endswith(f". {FROM_A_BACKUP}")
    assert [prices(store.loader, after(seconds), timeframe) for seconds in (0, 120)] == [[100.0], [102.0]]


@pytest.mark.parametrize("timeframe", MINUTES_AND_HOURS)
def test_a_damaged_day_does_not_hide_the_past_of_others(store: StoreOnDisk, timeframe: Timeframe) -> None:
    other = day("AAPL", "2024-01-03")
    store.keep((other, [at(1440)]))
    store.path(other).write_bytes(b"not Parquet")

    found = load(store.loader, after(300), timeframe, last="2024-01-02")

    assert found["open"].to_pylist() == [102.0]


def test_foreign_files_among_the_revisions_are_skipped(store: StoreOnDisk) -> None:
    folder = store.layout.revision(Revision(AAPL, NOON)).parent
    for name in ("day=02.parquet", "day=02.20250602T120001.000000Z (copy).parquet", "notes.txt"):
        (folder / name).write_bytes(b"not Parquet")

    assert prices(store.loader, after(2)) == [100.0]


def test_revisions_that_cannot_be_listed_do_not_pass_for_none(store: StoreOnDisk) -> None:
    folder = store.layout.revision(Revision(AAPL, NOON)).parent
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")

    with pytest.raises(StorageError, match=f"cannot read {folder}"):
        load(store.loader, after(60))


def test_only_folders_of_revisions_are_listed_and_of_the_months_asked_for(store: StoreOnDisk) -> None:
    load(store.loader, after(60))

    with SystemCalls(store.root) as seen:
        load(store.loader, after(60), first="2024-01-02", last="2024-02-02")

    assert seen.names() == ["listdir"] * 4  # two months, before and after the reading


def test_minutes_come_without_duckdb(store: StoreOnDisk) -> None:
    program = f"""
import sys
from pathlib import Path
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader
from marketpipe.storage.infrastructure.store_layout import StoreLayout
root = Path({str(store.root)!r})
loader = BarLoader(StoreLayout(root / "data", root / "aggregates", root / "quarantine", root / "revisions"), lambda: 0)
for moment in (None, Timestamp.parse("2025-06-02T12:00:00Z")):
    date = TradingDate.parse("2024-01-02")
    assert len(loader.load([Symbol("AAPL")], date, date, Timeframe.MINUTE_1, moment)) == 1
assert "duckdb" not in sys.modules
"""
    run([sys.executable, "-c", program], check=True)
