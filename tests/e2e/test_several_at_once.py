"""Several real processes on one store: the same result as one, everything asked for once, nobody in another's way."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow.dataset as ds
import pytest
from prometheus_client import CollectorRegistry

from marketpipe import Pipeline, load_ohlcv
from marketpipe.config import Credentials
from tests.support.alpaca_loopback import AlpacaLoopback, Reply, record
from tests.support.cli_process import KEYS, marketpipe, result_of, start_marketpipe

pytestmark = pytest.mark.slow
SYMBOLS = [f"S{i:02d}" for i in range(8)]
DAYS = ["2024-03-04", "2024-03-05", "2024-03-06", "2024-03-07", "2024-03-08"]
BARS_A_DAY = 120
BARS = {
    symbol: [
        record(f"{day}T{hour}:{minute:02d}:00Z", 50 + i) for day in DAYS for hour in (15, 16) for minute in range(60)
    ]
    for i, symbol in enumerate(SYMBOLS)
}
EVERY_DAY = {(symbol, day) for symbol in SYMBOLS for day in DAYS}
PAGE = 240
SEEDED = {(symbol, DAYS[i % 5]) for i, symbol in enumerate(SYMBOLS)}
"""One day of each symbol: what is missing then makes many batches instead of one."""
NEW_YORK = ZoneInfo("America/New_York")


def _slowly(seconds: float) -> Callable[[int, object], Reply | None]:
    def wait(_: int, __: object) -> None:
        time.sleep(seconds)

    return wait


def _config(folder: Path, url: str, *, rate: int = 100_000, symbols: list[str] = SYMBOLS) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(
        f"provider: alpaca\nsymbols: [{', '.join(symbols)}]\nstart: 2024-03-04\nend: 2024-03-08\nworkers: 2\n"
        f'timeframes: [5m, 1d]\nalpaca: {{feed: iex, base_url: "{url}", rate_limit_per_min: {rate}}}\n'
    )
    return str(file)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def _days_asked(provider: AlpacaLoopback) -> Counter[tuple[str, str]]:
    """By their first page: each batch has one."""
    found: Counter[tuple[str, str]] = Counter()
    for query in provider.requests:
        if "page_token" not in query:
            first, last = (_new_york_date(query[name]) for name in ("start", "end"))
            days = [day for day in DAYS if first <= day <= last]
            found.update((symbol, day) for symbol in query["symbols"].split(",") for day in days)
    return found


def _new_york_date(moment: str) -> str:
    return str(datetime.fromisoformat(moment).astimezone(NEW_YORK).date())


def _ends_well(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    with AlpacaLoopback(BARS, page_size=PAGE) as provider:
        done = marketpipe("ingest", "--config", _config(folder, provider.url), cwd=folder)
    assert done.returncode == 0, done.stderr
    return _files(folder)


def _seed(config: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    keys = Credentials(KEYS["ALPACA_KEY"], KEYS["ALPACA_SECRET"])
    with Pipeline.from_config(config, credentials=keys, registry=CollectorRegistry()) as pipeline:
        for symbol, day in sorted(SEEDED):
            assert pipeline.ingest(symbol, day, day).ok


def test_two_end_with_the_same_bytes_as_one_and_readers_see_whole_days_all_along(
    tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with AlpacaLoopback(BARS, page_size=PAGE, fault=_slowly(0.1)) as provider:
        config = _config(tmp_path, provider.url)
        _seed(config, tmp_path, monkeypatch)
        provider.requests.clear()
        processes = [start_marketpipe("ingest", "--config", config, cwd=tmp_path) for _ in range(2)]
        seen = list(_watched(tmp_path, processes))
        _ends_well(processes)

    assert _days_asked(provider) == dict.fromkeys(EVERY_DAY - SEEDED, 1)
    assert _files(tmp_path) == alone
    assert len({sum(counts.values()) for counts in seen}) > 3, "the readers saw the store grow"
    for counts in seen:
        assert set(counts.values()) <= {BARS_A_DAY}
    status = result_of(marketpipe("status", "--config", config, "--json", cwd=tmp_path))
    assert {job["state"] for job in status["jobs"]} == {"completed"}


def test_eight_with_ranges_that_overlap_end_with_the_same_bytes_as_one(tmp_path: Path, alone: dict[str, bytes]) -> None:
    halves = ",".join(SYMBOLS[:5]), ",".join(SYMBOLS[3:])
    ranges = [(halves[0], 0, 3), (halves[1], 1, 4), (halves[0], 2, 4), (halves[1], 0, 2)]
    ranges += [(",".join(SYMBOLS), 0, 4)] * 4
    with AlpacaLoopback(BARS, page_size=PAGE, fault=_slowly(0.1)) as provider:
        config = _config(tmp_path, provider.url)
        processes = [
            start_marketpipe(
                *("ingest", "--config", config, "--symbols", symbols, "--start", DAYS[first], "--end", DAYS[last]),
                cwd=tmp_path,
            )
            for symbols, first, last in ranges
        ]
        _ends_well(processes)

    assert _days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
    assert _files(tmp_path) == alone
    assert [path.name for path in (tmp_path / "state").iterdir() if "holder" in path.name] == []
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_days_of_one_that_is_killed_are_finished_by_the_other(
    tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with AlpacaLoopback(BARS, page_size=PAGE, fault=_slowly(0.2)) as provider:
        config = _config(tmp_path, provider.url)
        _seed(config, tmp_path, monkeypatch)
        provider.requests.clear()
        victim, other = [start_marketpipe("ingest", "--config", config, cwd=tmp_path) for _ in range(2)]
        deadline = time.monotonic() + 30
        while len(_files(tmp_path / "data")) < len(SEEDED) + 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        _ends_well([other])

    assert victim.returncode == -signal.SIGKILL
    assert _files(tmp_path) == alone
    asked = _days_asked(provider)
    assert set(asked) == EVERY_DAY - SEEDED
    assert max(asked.values()) <= 2


def test_one_limit_holds_for_all_processes_together(tmp_path: Path) -> None:
    """Of 20 a minute, in the first seconds of it: each of the four alone has more requests than that to make."""
    moments: list[float] = []

    def note(_: int, __: object) -> None:
        moments.append(time.monotonic())

    with AlpacaLoopback(BARS, page_size=50, fault=note) as provider:
        config = _config(tmp_path, provider.url, rate=20)
        chosen = [",".join(SYMBOLS[i : i + 2]) for i in range(0, 8, 2)]
        commands = [("ingest", "--config", config, "--symbols", symbols) for symbols in chosen]
        processes = [start_marketpipe(*words, cwd=tmp_path) for words in commands]
        deadline = time.monotonic() + 20
        while len(moments) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(1.0)
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.communicate(timeout=30)

    assert len(moments) == 20
    names = [path.name for path in (tmp_path / "state").iterdir()]
    assert sum(name.startswith("rate-limit-alpaca-") for name in names) == 1
    assert not any(KEYS["ALPACA_KEY"] in name for name in names)


def _watched(folder: Path, processes: list[subprocess.Popen[str]]) -> Iterator[Counter[tuple[str, str]]]:
    while any(process.poll() is None for process in processes):
        if list((folder / "data").rglob("*.parquet")):
            yield from _whole_days(folder).values()


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
