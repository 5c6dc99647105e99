"""Who finds the exchange's sessions beside the state asks neither exchange_calendars nor pandas for them."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.child_processes import run
from tests.support.cli_process import environment, marketpipe, result_of

CONFIG = """
provider: synthetic
symbols: [AAPL]
start: 2024-11-27
end: 2024-12-02
timeframes: [1h, 1d]
"""
SLOW_TO_ASK = {"exchange_calendars", "pandas"}
LIST_MODULES = """
import json, sys
from marketpipe.cli import main
try:
    main()
except SystemExit as leaving:
    print()
    print(json.dumps([leaving.code or 0, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    (folder / "config.yaml").write_text(CONFIG)
    done = marketpipe("ingest", "--config", "config.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def modules_of(store: Path, command: str) -> tuple[int, set[str]]:
    """The exit code, and the packages that were imported."""
    words = [sys.executable, "-c", LIST_MODULES, command, "--config", "config.yaml"]
    done = run(words, cwd=store, env=environment(), check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


def test_first_ingestion_remembers_the_sessions_beside_the_state(store: Path) -> None:
    assert (store / "state" / f"sessions-XNYS-{version('exchange_calendars')}.txt").is_file()


@pytest.mark.parametrize("command", ["plan", "ingest", "coverage", "status"])
def test_no_later_command_asks_for_the_sessions_again(store: Path, command: str) -> None:
    code, modules = modules_of(store, command)
    assert code == 0
    assert modules & SLOW_TO_ASK == set()


def test_an_ingestion_with_nothing_to_do_needs_neither_duckdb_nor_rules(store: Path) -> None:
    code, modules = modules_of(store, "ingest")
    assert code == 0
    assert modules & {"duckdb", "jsonschema"} == set()


@pytest.mark.parametrize(
    "file", ["timeframe=1h/symbol=AAPL/year=2024/month=11.parquet", "timeframe=1d/symbol=AAPL/year=2024.parquet"]
)
def test_an_ingestion_with_nothing_to_request_still_rebuilds_a_lost_aggregate(store: Path, file: str) -> None:
    (store / "aggregates" / file).unlink()
    done = marketpipe("ingest", "--config", "config.yaml", "--json", cwd=store)

    report = result_of(done)
    assert (report["requests"], report["aggregates"]["written"]) == (0, 1)
    assert (store / "aggregates" / file).is_file()


@pytest.mark.parametrize("damage", [b"", b"garbage\n"])
def test_a_damaged_calendar_cache_is_rebuilt_silently(store: Path, damage: bytes) -> None:
    (file,) = (store / "state").glob("sessions-*")
    whole = file.read_bytes()
    file.write_bytes(damage)
    done = marketpipe("coverage", "--config", "config.yaml", cwd=store)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.read_bytes() == whole
