"""The real command line, killed with SIGKILL at moments at which it changes something, and run again.

A run has some hundred of such moments. Every sixth is tried, and each time the run after it is killed too, after a
random time; all the tests together kill more than 200 times. MARKETPIPE_KILL_STRIDE=1 in the environment tries all.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.alpaca_loopback import AlpacaLoopback, Record, record
from tests.support.cli_process import environment

ROOT = Path(__file__).parents[2]
DAYS = ["2024-03-04", "2024-03-05"]
SYMBOLS = ["AAPL", "MSFT"]
KILLED = -signal.SIGKILL
STRIDE = int(os.environ.get("MARKETPIPE_KILL_STRIDE", "6"))
HALVES = (0, 1)
"""The moments of a run are dealt out to two tests, which run on different processors."""
AT_MOST_SECONDS = 0.3
"""About as long as a run takes, most of which is spent before it changes anything."""


def moments(half: int) -> range:
    return range(1 + half * STRIDE, 100_000, STRIDE * len(HALVES))


def bars(price: float = 100.0) -> dict[str, list[Record]]:
    moments = [f"{day}T15:{minute:02d}:00Z" for day in DAYS for minute in range(0, 60, 10)]
    return {symbol: [record(moment, price + number) for moment in moments] for number, symbol in enumerate(SYMBOLS)}


class DyingCli:
    """Runs commands in forks of one warm process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.dying_cli"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path, *words: str, die_at: int | None = None, die_after: float | None = None) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "words": [*words, "--config", "config.yaml"],
            "cwd": str(folder),
            "die_at": die_at,
            "die_after": die_after,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline())["code"])

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def cli() -> Iterator[DyingCli]:
    made = DyingCli()
    yield made
    made.close()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: hundreds of runs sync thousands of files, and no power is lost here."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def configure(folder: Path, url: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: {DAYS[0]}\nend: {DAYS[-1]}\nworkers: 2\n"
        f'timeframes: [5m, 1d]\nalpaca: {{base_url: "{url}", rate_limit_per_min: 100000}}\n'
    )
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Everything but the state, the configuration and what was printed; leftovers too."""
    apart = {"config.yaml", "output.txt"}
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in apart)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if "state" not in path.parts}


def current(folder: Path) -> dict[str, bytes]:
    """Without revisions, which bear moments in their names."""
    return {name: content for name, content in files(folder).items() if not name.startswith("revisions")}


def known(folder: Path) -> list[tuple[Any, ...]]:
    """What the state knows, but for moments and numbers of jobs."""
    state = sqlite3.connect(folder / "state" / "marketpipe.sqlite")
    try:
        return state.execute(
            "SELECT symbol, trading_date, outcome, hours, rejected, error, rows, first, last, bytes, sha256, minutes "
            "FROM checkpoints LEFT JOIN partitions USING (store_id, symbol, trading_date) ORDER BY 1, 2"
        ).fetchall()
    finally:
        state.close()


def settled(folder: Path) -> set[tuple[str, str]]:
    """Symbol-days that have their checkpoint, or their file and not yet a checkpoint."""
    return checkpointed(folder) | {
        (symbol, day)
        for symbol in SYMBOLS
        for day in DAYS
        if (folder / "data" / f"symbol={symbol}/year=2024/month=03/day={day[-2:]}.parquet").exists()
    }


def checkpointed(folder: Path) -> set[tuple[str, str]]:
    if not (folder / "state" / "marketpipe.sqlite").exists():
        return set()
    try:
        return {(row[0], row[1]) for row in known(folder) if row[2] == "complete"}
    except sqlite3.OperationalError:  # killed before the tables were made
        return set()


def asked_for(requests: Sequence[Mapping[str, str]]) -> set[tuple[str, str]]:
    return {
        (symbol, day)
        for query in requests
        for symbol in query["symbols"].split(",")
        for day in DAYS
        if query["start"][:10] <= day <= query["end"][:10]
    }


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_an_ingestion_killed_at_any_moment_resumes_to_the_same_end(cli: DyingCli, scratch: Path, half: int) -> None:
    random, kills, code = Random(half), 0, KILLED
    with AlpacaLoopback(bars(), page_size=7) as provider:
        whole = configure(scratch / "whole", provider.url)
        assert cli.run(whole, "ingest") == 0
        for moment in moments(half):
            folder = configure(scratch / "killed", provider.url)
            code = cli.run(folder, "ingest", die_at=moment)
            if code != KILLED:
                break
            kills += 1
            for die_after in (random.uniform(0, AT_MOST_SECONDS), None):
                had, before = settled(folder), len(provider.requests)
                code = cli.run(folder, "ingest", die_after=die_after)
                assert code == 0 or (code == KILLED and die_after), (moment, (folder / "output.txt").read_text())
                assert asked_for(provider.requests[before:]).isdisjoint(had), moment
                kills += code == KILLED
            assert files(folder) == files(whole), moment
            assert known(folder) == known(whole), moment
            shutil.rmtree(folder)

    assert code == 0
    assert kills * STRIDE > 200, kills


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_an_adoption_killed_at_any_moment_ends_as_if_it_had_not_been(cli: DyingCli, scratch: Path, half: int) -> None:
    adopt = ("audit", "--start", DAYS[0], "--adopt")
    random, kills, code = Random(half), 0, KILLED
    with AlpacaLoopback(bars()) as provider, AlpacaLoopback(bars(200.0)) as restated:
        old, whole = configure(scratch / "old", provider.url), scratch / "whole"
        assert cli.run(old, "ingest") == 0
        shutil.copytree(old, whole)
        assert cli.run(configure(whole, restated.url), *adopt) == 0
        for moment in moments(half):
            folder = scratch / "killed"
            shutil.copytree(old, folder)
            configure(folder, restated.url)
            code = cli.run(folder, *adopt, die_at=moment)
            if code != KILLED:
                break
            kills += 1 + (cli.run(folder, *adopt, die_after=random.uniform(0, AT_MOST_SECONDS)) == KILLED)
            assert cli.run(folder, *adopt) == 0, moment
            assert cli.run(folder, "ingest") == 0, moment
            assert current(folder) == current(whole), moment
            assert known(folder) == known(whole), moment
            assert revised(folder) >= revised(old, root="data"), moment
            shutil.rmtree(folder)

    assert code == 0
    assert kills * STRIDE > 200, kills


def revised(folder: Path, root: str = "revisions") -> set[bytes]:
    return {path.read_bytes() for path in (folder / root).rglob("*.parquet")}
