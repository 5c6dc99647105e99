"""What an export writes is what load returns, from the library and from the command line."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from marketpipe import ConfigurationError, FileFormat, PartitionUnreadableError, Pipeline, StoreConfig
from marketpipe.testing import FakeClock
from tests.support.in_process_cli import Ended, run_in_process
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DECEMBER, JANUARY, FEBRUARY = "2023-12-29", "2024-01-02", "2024-02-01"
CONFIG = f"{{provider: synthetic, symbols: [AAPL, BRK.B], start: {JANUARY}, end: 2024-01-05, timeframes: [1d]}}"


def begin(root: Path, **bars: int) -> tuple[Pipeline, ScriptedProvider, FakeClock]:
    days = {
        name: {each: minutes(each, count) for each in (DECEMBER, JANUARY, FEBRUARY)} for name, count in bars.items()
    }
    provider, clock = ScriptedProvider(days), FakeClock("2024-02-05T12:00:00Z")
    made = pipeline(config(root, list(bars), DECEMBER, FEBRUARY, timeframes=["5m", "1d"]), provider, clock)
    made.ingest()
    return made, provider, clock


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return begin(tmp_path_factory.mktemp("store"), A=6, B=3)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cli")
    (place / "config.yaml").write_text(CONFIG)
    assert run_in_process("ingest", "-c", "config.yaml", cwd=place).code == 0
    return place


def run(folder: Path, *words: str) -> Ended:
    return run_in_process(*words, "-c", "config.yaml", cwd=folder)


@pytest.mark.parametrize(
    ("timeframe", "wanted"),
    [
        ("1m", {}),
        ("5m", {}),
        ("1d", {}),
        ("1w", {}),
        ("1mo", {"source": "minutes"}),
        ("1m", {"columns": ["close", "symbol"]}),
        ("1m", {"tz": "America/New_York", "trading_date": True}),
    ],
)
def test_an_export_is_what_load_returns(store: Pipeline, timeframe: str, wanted: Any, tmp_path: Path) -> None:
    report = store.export(tmp_path / "bars.parquet", None, None, None, timeframe, **wanted)
    expected = store.load(["A", "B"], "2023-12-01", FEBRUARY, timeframe, **wanted)
    assert pq.read_table(tmp_path / "bars.parquet").equals(expected)
    assert (report.rows, report.format) == (expected.num_rows, FileFormat.PARQUET)


def test_symbols_and_dates_narrow_an_export(store: Pipeline, tmp_path: Path) -> None:
    store.export(tmp_path / "bars.arrow", "B", date(2024, 1, 1), "2024-01-31")
    with pa.ipc.open_file(tmp_path / "bars.arrow") as file:
        assert file.read_all().equals(store.load("B", JANUARY, JANUARY))


def test_an_export_states_what_it_is(store: Pipeline, tmp_path: Path) -> None:
    store.export(tmp_path / "bars.parquet", as_of="2030-01-01T00:00:00Z")
    stated = pq.read_schema(tmp_path / "bars.parquet").metadata
    assert stated[b"marketpipe.timeframe"] == b"1m"
    assert stated[b"marketpipe.as_of"] == b"2030-01-01T00:00:00Z"
    assert b"provider" in stated[b"marketpipe.dataset"]


def test_csv_has_whole_seconds_and_plain_numbers(store: Pipeline, tmp_path: Path) -> None:
    store.export(tmp_path / "bars.csv", "A", JANUARY, JANUARY, columns=["symbol", "timestamp", "open", "vwap"])
    first, second, *_ = (tmp_path / "bars.csv").read_text().splitlines()
    assert first == '"symbol","timestamp","open","vwap"'
    assert second.startswith('"A",2024-01-02 14:30:00Z,100,')


def test_an_export_as_of_a_moment_has_the_bars_of_then(tmp_path: Path) -> None:
    made, provider, clock = begin(tmp_path, A=2)
    with made:
        before = clock.now()
        clock.advance(86_400)
        provider.bars["A"][JANUARY] = minutes(JANUARY, 3, price=50.0)
        made.audit("A", JANUARY, JANUARY, adopt=True)
        made.export(tmp_path / "then.parquet", as_of=before)
        made.export(tmp_path / "now.parquet")
    assert [pq.read_table(tmp_path / name).num_rows for name in ("then.parquet", "now.parquet")] == [6, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bars.csv", "AA"), "did you mean 'A'"),
        (("bars.csv", "A", "2024-01-03", "2024-01-05"), "nothing was exported"),
        (("bars.txt",), "the ending names no format"),
        (("store/data/bars.csv",), "is inside the store"),
        (("store/state/bars.csv",), "is inside the store"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    made, _, _ = begin(tmp_path / "store", A=1)
    with made, pytest.raises(ConfigurationError, match=message):
        made.export(tmp_path / arguments[0], *arguments[1:])
    assert os.listdir(tmp_path) == ["store"]


def test_a_damaged_file_ends_an_export_that_leaves_nothing(tmp_path: Path) -> None:
    made, _, _ = begin(tmp_path / "store", A=1)
    (tmp_path / "store/data/symbol=A/year=2024/month=02/day=01.parquet").write_bytes(b"PAR1 no more")
    with made, pytest.raises(PartitionUnreadableError):
        made.export(tmp_path / "bars.csv")
    assert os.listdir(tmp_path) == ["store"]


def test_an_answer_goes_to_a_file_as_it_is_returned(store: Pipeline, tmp_path: Path) -> None:
    sql = "SELECT symbol, trading_date, count(*) AS bars FROM bars GROUP BY ALL ORDER BY ALL"
    store.export_query(tmp_path / "answer.parquet", sql)
    assert pq.read_table(tmp_path / "answer.parquet").equals(store.query(sql))


def test_the_command_exports_and_says_what(folder: Path, tmp_path: Path) -> None:
    ended = run(
        folder, "export", str(tmp_path / "bars.csv"), "--symbols", "AAPL", "--symbols", "BRK/B", "--timeframe", "1d"
    )
    assert (ended.code, "8 rows written to" in ended.err) == (0, True), ended.err
    again = run(folder, "export", str(tmp_path / "bars.csv"))
    assert (again.code, "--overwrite" in again.err) == (2, True)
    report = json.loads(run(folder, "export", str(tmp_path / "bars.csv"), "--overwrite", "--json").out)
    assert report["rows"] == pacsv.read_csv(tmp_path / "bars.csv").num_rows > 8


@pytest.mark.parametrize("words", [("export", "config.yaml"), ("query", "SELECT 1", "-o", "config.yaml")])
def test_the_configuration_is_never_replaced(words: tuple[str, ...], folder: Path) -> None:
    before = (folder / "config.yaml").read_bytes()
    ended = run(folder, *words, "--overwrite", "--format", "csv")
    assert (ended.code, "config.yaml has the settings of the store" in ended.err) == (2, True), ended.err
    assert (folder / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["marketpipe.yaml", ".env"])
def test_the_library_does_not_replace_settings_either(name: str, folder: Path) -> None:
    made = Pipeline(StoreConfig(root=folder), registry=CollectorRegistry())
    with made, pytest.raises(ConfigurationError, match="settings of the store"):
        made.export(folder / name, format="csv", overwrite=True)


def test_the_library_does_not_replace_the_configuration_that_was_named(folder: Path) -> None:
    before = (folder / "config.yaml").read_bytes()
    made = Pipeline.from_config(folder / "config.yaml", registry=CollectorRegistry())
    with made, pytest.raises(ConfigurationError, match="settings of the store"):
        made.export(folder / "config.yaml", format="csv", overwrite=True)
    assert (folder / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["all.csv", "all.json", "all.parquet", "all.arrow"])
def test_a_query_into_a_file_has_no_limit_of_rows(name: str, folder: Path, tmp_path: Path) -> None:
    ended = run(folder, "query", "SELECT * FROM range(1000)", "--output", str(tmp_path / name))
    assert (ended.code, "1,000 rows written to" in ended.err) == (0, True)


def test_a_query_prints_csv_and_json(folder: Path) -> None:
    sql = "SELECT symbol, count(*) AS n FROM bars_1d GROUP BY ALL ORDER BY ALL"
    assert run(folder, "query", sql, "--format", "csv").out == '"symbol","n"\n"AAPL",4\n"BRK.B",4\n'
    assert json.loads(run(folder, "query", sql, "--format", "json").out)[1] == {"symbol": "BRK.B", "n": 4}
    assert run(folder, "query", sql, "--format", "table").out == run(folder, "query", sql).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "parquet"), "give a file with --output"),
        (("--format", "tabel"), "did you mean 'table'"),
        (("--format", "table", "-o", "x.csv"), "'table' is not allowed"),
        (("-o", "data/x.csv"), "is inside the store"),
        (("--json", "--format", "csv"), "--json and --format csv contradict each other"),
    ],
)
def test_what_a_query_cannot_write_is_wrong_usage(options: tuple[str, ...], message: str, folder: Path) -> None:
    ended = run(folder, "query", "SELECT 1", *options)
    assert (ended.code, message in ended.err) == (2, True), ended.err
