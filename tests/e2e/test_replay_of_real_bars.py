"""Real bars over real HTTP, from the replay server beside the project; skipped where that is absent."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from marketpipe import load_ohlcv
from tests.support.child_processes import start
from tests.support.cli_process import marketpipe, result_of

FAULTS = (
    "500:0.05,502:0.05,503:0.05,504:0.05,drop:0.06,truncate:0.06,garbage:0.05,html:0.05,emptypage:0.05,"
    "null:0.05,slow:0.02"
)
"""Every kind at about half of all requests, but those that would really be waited out: 429 and hang."""
NUMBERS = ("open", "high", "low", "close", "volume")


@contextmanager
def _replay(shared: Path, log: Path, *options: str) -> Iterator[str]:
    script, bars = shared / "replay" / "replay_alpaca.py", shared / "real-bars" / "alpaca_bars"
    command = [sys.executable, str(script), str(bars), "--log", str(log), *options]
    with start(command, stderr=None) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[1]
        finally:
            server.terminate()


def _ingest(folder: Path, url: str, start: str, end: str) -> dict[str, object]:
    (folder / "config.yaml").write_text(
        f"provider: alpaca\nsymbols: [BYND]\nstart: {start}\nend: {end}\n"
        f'alpaca: {{feed: sip, base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )
    done = marketpipe("ingest", "--config", "config.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = result_of(done)
    return report


def _assert_all_there(shared: Path, folder: Path) -> None:
    (file,) = (shared / "real-bars" / "alpaca_bars").glob("*.parquet")
    real, stored = pq.read_table(file).sort_by("timestamp"), load_ohlcv("BYND", "2020-11-01", "2020-11-30", root=folder)
    assert stored.num_rows == real.num_rows == 7767
    assert pc.cast(real["timestamp"], pa.timestamp("us", "UTC")).to_pylist() == stored["timestamp"].to_pylist()
    for name in NUMBERS:
        assert pc.cast(real[name], pa.float64()).to_pylist() == stored[name].to_pylist()


def test_all_real_bars_arrive_bit_for_bit_in_the_fewest_requests(shared: Path, tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with _replay(shared, log) as url:
        first = _ingest(tmp_path, url, "2020-11-02", "2020-11-20")
        again = _ingest(tmp_path, url, "2020-11-02", "2020-11-20")

    _assert_all_there(shared, tmp_path)
    assert (first["requests"], again["requests"]) == (
        2,
        0,
    )  # 7,767 bars fit one page of 10,000, and so do 15 official days
    assert len(log.read_text().splitlines()) == 2


@pytest.mark.slow
def test_all_real_bars_arrive_through_faults_day_by_day(shared: Path, tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with _replay(shared, log, "--faults", FAULTS, "--seed", "16") as url:
        for day in ("02", "03", "04", "05", "06", "09", "10", "11", "12", "13", "16", "17", "18", "19", "20"):
            _ingest(tmp_path, url, f"2020-11-{day}", f"2020-11-{day}")

    _assert_all_there(shared, tmp_path)
    assert len({json.loads(line)["fault"] for line in log.read_text().splitlines()} - {None}) == 8
