"""Several real processes on one store: the same result as one, everything requested once, no process fails."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest

from marketpipe import load_ohlcv
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.child_processes import LONGEST_SECONDS, wait_until
from tests.support.cli_process import KEYS, marketpipe, result_of, start_marketpipe
from tests.support.shared_store import (
    BARS,
    BARS_A_DAY,
    DAYS,
    EVERY_DAY,
    PAGE,
    SEEDED,
    SYMBOLS,
    days_asked,
    ends_well,
    files,
    seed,
    slowly,
    write_config,
)
from tests.support.started_cli import StartedCli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    with AlpacaLoopback(BARS, page_size=PAGE) as provider:
        done = marketpipe("ingest", "--config", write_config(folder, provider.url), cwd=folder)
    assert done.returncode == 0, done.stderr
    return files(folder)


def test_two_end_with_the_same_bytes_as_one_and_readers_see_whole_days_all_along(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with AlpacaLoopback(BARS, page_size=PAGE, fault=slowly(0.1)) as provider:
        config = write_config(tmp_path, provider.url)
        seed(config, tmp_path)
        provider.requests.clear()
        processes = [start_marketpipe("ingest", "--config", config, cwd=tmp_path) for _ in range(2)]
        seen = list(_watched(tmp_path, processes))
        ends_well(processes)

    assert days_asked(provider) == dict.fromkeys(EVERY_DAY - SEEDED, 1)
    assert files(tmp_path) == alone
    assert len({sum(counts.values()) for counts in seen}) > 3, "the readers saw the store grow"
    for counts in seen:
        assert set(counts.values()) <= {BARS_A_DAY}
    status = result_of(marketpipe("status", "--config", config, "--json", cwd=tmp_path))
    assert {job["state"] for job in status["jobs"]} == {"completed"}


def test_eight_with_ranges_that_overlap_end_with_the_same_bytes_as_one(tmp_path: Path, alone: dict[str, bytes]) -> None:
    halves = ",".join(SYMBOLS[:5]), ",".join(SYMBOLS[3:])
    ranges = [(halves[0], 0, 3), (halves[1], 1, 4), (halves[0], 2, 4), (halves[1], 0, 2)]
    ranges += [(",".join(SYMBOLS), 0, 4)] * 4
    with AlpacaLoopback(BARS, page_size=PAGE, fault=slowly(0.1)) as provider:
        config = write_config(tmp_path, provider.url)
        processes = [
            start_marketpipe(
                *("ingest", "--config", config, "--symbols", symbols, "--start", DAYS[first], "--end", DAYS[last]),
                cwd=tmp_path,
            )
            for symbols, first, last in ranges
        ]
        ends_well(processes)

    assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
    assert files(tmp_path) == alone
    assert [path.name for path in (tmp_path / "state").iterdir() if "holder" in path.name] == []
    assert not list(tmp_path.rglob("*.tmp"))


def test_one_limit_holds_for_all_processes_together(tmp_path: Path) -> None:
    """Of 20 a minute, in the first seconds of it: each of the four alone has more requests than that to make."""
    moments: list[float] = []

    def note(_: int, __: object) -> None:
        moments.append(time.monotonic())

    with AlpacaLoopback(BARS, page_size=50, fault=note) as provider:
        provider.official_fault = note
        config = write_config(tmp_path, provider.url, rate=20)
        chosen = [",".join(SYMBOLS[i : i + 2]) for i in range(0, 8, 2)]
        commands = [("ingest", "--config", config, "--symbols", symbols) for symbols in chosen]
        processes = [start_marketpipe(*words, cwd=tmp_path) for words in commands]
        wait_until(lambda: len(moments) >= 20)
        time.sleep(1.0)
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.communicate(timeout=LONGEST_SECONDS)

    assert len(moments) == 20
    names = [path.name for path in (tmp_path / "state").iterdir()]
    assert sum(name.startswith("rate-limit-alpaca-") for name in names) == 1
    assert not any(KEYS["ALPACA_KEY"] in name for name in names)


def _watched(folder: Path, processes: list[StartedCli]) -> Iterator[Counter[tuple[str, str]]]:
    while any(process.poll() is None for process in processes):
        if list((folder / "data").rglob("*.parquet")):
            yield from _whole_days(folder).values()
        time.sleep(0.1)


def _whole_days(folder: Path) -> dict[str, Counter[tuple[str, str]]]:
    """Bars by symbol and UTC date (which is New York's here), as three readers see them."""
    data = folder / "data"
    table = ds.dataset(data, partitioning="hive").to_table(columns=["symbol", "timestamp"])
    by_arrow = zip(table["symbol"].to_pylist(), table["timestamp"].to_pylist(), strict=True)
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT symbol, timestamp::DATE::VARCHAR "
            f"FROM read_parquet('{data}/**/*.parquet', hive_partitioning = true)"
        ).fetchall()
    loaded = load_ohlcv(SYMBOLS, DAYS[0], DAYS[-1], root=folder)
    by_loader = zip(loaded["symbol"].to_pylist(), loaded["timestamp"].to_pylist(), strict=True)
    return {
        "pyarrow": Counter((symbol, str(moment.date())) for symbol, moment in by_arrow),
        "duckdb": Counter((str(symbol), str(date)) for symbol, date in rows),
        "load_ohlcv": Counter((symbol, str(moment.date())) for symbol, moment in by_loader),
    }
