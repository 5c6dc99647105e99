"""Commands take the exchange's sessions from the package, and import only what they need."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import run
from tests.support.cli_process import environment, marketpipe, result_of

CONFIG = """
provider: synthetic
symbols: [AAPL]
start: 2024-11-27
end: 2024-12-02
timeframes: [1h, 1d]
"""
OF_ALPACA = """
provider: alpaca
symbols: [AAPL]
start: {date}
end: {date}
timeframes: []
alpaca: {{base_url: "{url}"}}
"""
SLOW_TO_ASK = {"exchange_calendars", "pandas"}
NEVER_NEEDED = {"anyio", "click", "pydantic", "tornado", "trio"}
"""Packages that others import, if they are installed, for features that no command uses."""
LIST_MODULES = """
import json, sys
from marketpipe.cli import main
found = []
for command in sys.argv[1:]:
    sys.argv = ["marketpipe", command, "--config", "config.yaml"]
    try:
        main()
    except SystemExit as leaving:
        found.append([leaving.code or 0, sorted({name.partition(".")[0] for name in sys.modules})])
print()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    (folder / "config.yaml").write_text(CONFIG)
    done = marketpipe("ingest", "--config", "config.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def modules_of(store: Path, *commands: str) -> dict[str, set[str]]:
    """Return the packages that each command or an earlier one has imported, as one process runs them, in order."""
    done = run([sys.executable, "-c", LIST_MODULES, *commands], cwd=store, env=environment(), check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert [code for code, _ in found] == [0] * len(commands), done.stderr
    return {command: set(modules) for command, (_, modules) in zip(commands, found, strict=True)}


def test_an_ingestion_of_sessions_that_the_package_has_writes_no_cache(store: Path) -> None:
    assert not list((store / "state").glob("sessions-*"))


def test_no_command_asks_exchange_calendars_and_an_ingestion_with_nothing_to_do_needs_no_duckdb(store: Path) -> None:
    found = modules_of(store, "ingest", "plan", "coverage", "status")
    for command, modules in found.items():
        assert modules & {*SLOW_TO_ASK, *NEVER_NEEDED} == set(), command
    assert found["ingest"] & {"duckdb", "jsonschema", "rich"} == set()


def test_a_run_that_requests_nothing_of_alpaca_needs_no_http_client(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(OF_ALPACA.format(url="http://127.0.0.1:9", date="2024-11-28"))
    for command, modules in modules_of(tmp_path, "plan", "ingest").items():
        assert modules & {"httpx", "tenacity", "pyrate_limiter", "duckdb", "jsonschema"} == set(), command


def test_a_first_ingestion_and_the_next_one_import_only_what_they_use(tmp_path: Path) -> None:
    bars = [record(f"{date}T15:{minute:02d}:00Z", 50) for date in ("2024-11-27", "2024-11-29") for minute in range(9)]
    with AlpacaLoopback({"AAPL": bars}) as server:
        for date in ("2024-11-27", "2024-11-29"):
            (tmp_path / "config.yaml").write_text(OF_ALPACA.format(url=server.url, date=date))
            modules = modules_of(tmp_path, "ingest")["ingest"]
            assert modules & {*SLOW_TO_ASK, *NEVER_NEEDED, "duckdb", "jsonschema", "numba", "rich"} == set()
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "file", ["timeframe=1h/symbol=AAPL/year=2024/month=11.parquet", "timeframe=1d/symbol=AAPL/year=2024.parquet"]
)
def test_an_ingestion_with_nothing_to_request_still_rebuilds_a_lost_aggregate(store: Path, file: str) -> None:
    (store / "aggregates" / file).unlink()
    done = marketpipe("ingest", "--config", "config.yaml", "--json", cwd=store)

    report = result_of(done)
    assert (report["requests"], report["aggregates"]["written"]) == (0, 1)
    assert (store / "aggregates" / file).is_file()


def test_the_library_loads_bars_without_pandas(store: Path) -> None:
    load = (
        "import json, sys, marketpipe; bars = marketpipe.load_ohlcv('AAPL', '2024-11-27', '2024-12-02', root='.'); "
        "print(json.dumps([len(bars), set(bars['symbol'].to_pylist()) == {'AAPL'}, 'pandas' in sys.modules]))"
    )
    done = run([sys.executable, "-c", load], cwd=store, env=environment(), check=True)
    count, is_right, has_pandas = json.loads(done.stdout.splitlines()[-1])
    assert (count > 0, is_right, has_pandas) == (True, True, False)


def test_exceptions_of_the_configuration_are_kept_beside_the_state(store: Path, tmp_path: Path) -> None:
    copied = tmp_path / "store"
    shutil.copytree(store, copied)
    with (copied / "config.yaml").open("a") as file:
        file.write("calendar: {exceptions: [{date: 2024-11-29, closed: true}]}\n")
    assert marketpipe("plan", "--config", "config.yaml", cwd=copied).returncode == 0
    (cache,) = (copied / "state").glob("sessions-*")
    assert cache.name == f"sessions-XNYS-{version('exchange_calendars')}.txt"
    whole = cache.read_bytes()
    cache.write_bytes(b"garbage\n")
    done = marketpipe("coverage", "--config", "config.yaml", cwd=copied)
    assert (done.returncode, done.stderr) == (0, "")
    assert cache.read_bytes() == whole
