"""The command line as a user sees it: help, results, messages and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from marketpipe import load_ohlcv
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import LONGEST_SECONDS, run, start, wait_until
from tests.support.cli_process import environment, fresh_marketpipe, marketpipe, result_of, start_marketpipe

SYNTHETIC = """
provider: synthetic
symbols: [AAPL, MSFT]
start: 2024-11-27
end: 2024-12-02
timeframes: [5m, 1d]
"""
COMMANDS = (
    *("plan", "ingest", "update", "import", "coverage", "audit"),
    *("verify", "recover", "freeze"),
    *("validate", "aggregate", "query", "status", "metrics", "providers"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic store, shared by tests that only read it."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "config.yaml").write_text(SYNTHETIC)
    done = marketpipe("ingest", "--config", "config.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("module", ["marketpipe", "marketpipe.cli"])
def test_help_lists_every_command(tmp_path: Path, module: str) -> None:
    done = run([sys.executable, "-m", module, "--help"], cwd=tmp_path, env=environment(), check=True)
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_config_and_explains_itself(tmp_path: Path, command: str) -> None:
    done = fresh_marketpipe(command, "--help", cwd=tmp_path)

    assert done.returncode == 0
    assert "--config" in done.stdout
    assert "--json" in done.stdout


def test_ingest_with_options_alone_needs_no_config(tmp_path: Path) -> None:
    words = ("--provider", "synthetic", "--symbols", "AAPL,BRK.B", "--start", "2024-01-02", "--end", "2024-01-03")
    done = marketpipe("ingest", *words, "--output-path", "bars", "--compression", "snappy", "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert result_of(done)["complete"] == 4
    file = tmp_path / "bars" / "symbol=BRK.B" / "year=2024" / "month=01" / "day=02.parquet"
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "SNAPPY"


def test_the_ingestion_module_is_the_ingest_command(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SYNTHETIC)
    command = [sys.executable, "-m", "marketpipe.ingestion", "--config", "config.yaml", "--json"]
    done = run(command, cwd=tmp_path, env=environment(), check=True)
    assert json.loads(done.stdout)["complete"] == 6


def test_plain_lines_of_progress_go_to_standard_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SYNTHETIC)
    done = marketpipe("ingest", "--config", "config.yaml", cwd=tmp_path)

    assert "6 of 6 symbol-days" in done.stderr
    assert "\x1b[" not in done.stderr + done.stdout
    assert "6 complete" in done.stdout


def test_status_shows_what_is_stored(store: Path) -> None:
    status = result_of(marketpipe("status", "--config", "config.yaml", "--json", cwd=store))

    assert status["dataset"] == {"provider": "synthetic", "feed": "seed-7", "adjustment": "raw", "asof": "-"}
    assert [(s["symbol"], s["complete"], s["failed"]) for s in status["symbols"]] == [("AAPL", 3, 0), ("MSFT", 3, 0)]
    assert status["jobs"][0]["state"] == "completed"
    assert status["symbols"][0]["bars"] == len(load_ohlcv("AAPL", "2024-11-01", "2024-12-31", root=store))


def test_status_of_an_empty_folder_reports_that_and_creates_nothing(tmp_path: Path) -> None:
    done = marketpipe("status", cwd=tmp_path)

    assert (done.returncode, done.stdout.strip()) == (0, f"nothing is stored at {tmp_path / 'data'} yet")
    assert list(tmp_path.iterdir()) == []


def test_query_prints_a_table_or_json(store: Path) -> None:
    sql = "SELECT symbol, count(*) AS bars FROM bars GROUP BY symbol ORDER BY symbol"
    table = marketpipe("query", sql, cwd=store)
    rows = result_of(marketpipe("query", sql, "--config", "config.yaml", "--json", cwd=store))

    assert [row["symbol"] for row in rows] == ["AAPL", "MSFT"]
    assert [row["bars"] for row in rows] == [
        len(load_ohlcv(s, "2024-11-01", "2024-12-31", root=store)) for s in ("AAPL", "MSFT")
    ]
    assert f"{rows[0]['bars']:,}" in table.stdout


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO 'stolen.csv'",
        "CREATE TABLE t AS SELECT 1",
        "ATTACH 'other.db'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('state/marketpipe.sqlite')",
        "SELECT 1; SELECT 2",
        "SELECT no_such_column FROM bars",
        "SET enable_external_access = true",
        "",
    ],
)
def test_a_query_that_is_invalid_or_not_read_only_exits_2(store: Path, sql: str) -> None:
    before = set(store.rglob("*"))
    done = marketpipe("query", sql, cwd=store)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert set(store.rglob("*")) == before


def test_validate_reports_a_good_store_as_valid(store: Path) -> None:
    done = marketpipe("validate", "--config", "config.yaml", "--json", cwd=store)

    assert done.returncode == 0
    assert (result_of(done)["valid"], result_of(done)["symbol_days"]) == (True, 6)


def test_validate_exits_1_and_names_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SYNTHETIC)
    marketpipe("ingest", "--config", "config.yaml", cwd=tmp_path)
    file = next((tmp_path / "data" / "symbol=MSFT").rglob("day=29.parquet"))
    file.write_bytes(file.read_bytes()[:-100])

    done = marketpipe("validate", "--config", "config.yaml", cwd=tmp_path)

    assert done.returncode == 1
    assert "damaged: MSFT 2024-11-29" in done.stderr


def test_aggregate_writes_only_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SYNTHETIC)
    marketpipe("ingest", "--config", "config.yaml", cwd=tmp_path)
    next((tmp_path / "aggregates" / "timeframe=5m" / "symbol=AAPL").rglob("month=11.parquet")).unlink()

    again = result_of(marketpipe("aggregate", "--config", "config.yaml", "--json", cwd=tmp_path))
    more = result_of(
        marketpipe("aggregate", "--config", "config.yaml", "--timeframes", "30m,4h", "--json", cwd=tmp_path)
    )
    no_copies = {"copies_written": 0, "copies_unchanged": 0}
    assert again == {"written": 1, "unchanged": 5, "failures": [], **no_copies}
    assert more == {"written": 8, "unchanged": 0, "failures": [], **no_copies}


def test_metrics_are_prometheus_text_or_json(store: Path) -> None:
    text = marketpipe("metrics", "--config", "config.yaml", cwd=store).stdout
    samples = result_of(marketpipe("metrics", "--config", "config.yaml", "--json", cwd=store))

    assert re.search(r'marketpipe_store_symbol_days\{outcome="complete",.*\} 6\.0', text)
    (symbols,) = (sample for sample in samples if sample["name"] == "marketpipe_store_symbols")
    assert (symbols["value"], symbols["labels"]["provider"]) == (2, "synthetic")


def test_providers_are_listed_and_the_configured_one_marked(store: Path) -> None:
    listed = result_of(marketpipe("providers", "--config", "config.yaml", "--json", cwd=store))

    configured = {row["name"]: row["configured"] for row in listed}
    assert (configured["alpaca"], configured["synthetic"]) == (False, True)
    assert [row["fast"] for row in listed if "fast" in row] == [find_spec("numba") is not None]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("provider: synthetc\nsymbols: [A]\nstart: 2024-01-02\nend: 2024-01-02\n", "did you mean 'synthetic'?"),
        ("provider: synthetic\nsymbol: [A]\nstart: 2024-01-02\nend: 2024-01-02\n", "did you mean 'symbols'?"),
        ("provider: synthetic\nsymbols: [A]\nstart: 2024-02-30\nend: 2024-03-01\n", "start: '2024-02-30'"),
        ("provider: synthetic\nsymbols: [A]\nstart: 2024-01-03\nend: 2024-01-02\n", "end: 2024-01-02 is before"),
        ("provider: alpaca\nsymbols: [A]\nstart: 2024-01-02\nend: 2024-01-02\nkey: AKIA\n", ".env"),
        ("provider: synthetic\nsymbols: [A]\nstart: 2024-01-02\nend: 2099-01-02\n", "trading calendar covers"),
        ("provider: synthetic\nsymbols: [A]\nstart: 2024-01-02\nend: 2024-01-02\nworkers: 0\n", "workers: expected"),
        (
            "provider: synthetic\nsymbols: [A]\nstart: 2024-01-02\nend: 2024-01-02\n"
            "validation: {severities: {high_is_higest: off}}\n",
            "did you mean 'high_is_highest'?",
        ),
    ],
)
def test_bad_configuration_exits_2_with_advice_before_anything_is_written(
    tmp_path: Path, config: str, expected: str
) -> None:
    (tmp_path / "config.yaml").write_text(config)
    done = marketpipe("ingest", "--config", "config.yaml", cwd=tmp_path)

    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert "AKIA" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "words",
    [
        ("ingest",),
        ("ingest", "--config", "nowhere.yaml"),
        ("ingest", "--no-such-option"),
        ("ingest", "--workers", "many"),
        ("validate", "--symbols", "../x"),
        ("validate", "--start", "yesterday"),
        ("aggregate", "--timeframes", "7m"),
        ("no-such-command",),
        ("ingest", "--provider", "alpaca", "--symbols", "AAPL", "--start", "2024-01-02", "--end", "2024-01-02"),
    ],
)
def test_wrong_usage_exits_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = marketpipe(*words, cwd=tmp_path, env={"ALPACA_KEY": "", "ALPACA_SECRET": ""})

    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def _alpaca(folder: Path, url: str, **more: str) -> str:
    lines = {"provider": "alpaca", "symbols": "[AAPL]", "start": "2024-03-04", "end": "2024-03-04", **more}
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    (folder / "config.yaml").write_text(text + f'alpaca: {{base_url: "{url}"}}\n')
    return "config.yaml"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b"<html><h1>401 Authorization Required</h1></html>"), (403, b'{"message": "forbidden."}')],
)
def test_refused_keys_are_never_zero_bars(tmp_path: Path, status: int, body: bytes) -> None:
    with AlpacaLoopback({}, fault=lambda *_: Response(status, body)) as provider:
        done = marketpipe("ingest", "--config", _alpaca(tmp_path, provider.url), cwd=tmp_path)

    assert done.returncode == 1
    assert "Check" in done.stderr
    assert str(status) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(provider.requests) == 1


def test_a_failed_symbol_exits_1_is_named_and_is_requested_again(tmp_path: Path) -> None:
    bars = {"AAPL": [record("2024-03-04T15:00:00Z")], "BAD": []}

    def refuse_bad(_: int, query: object) -> Response | None:
        named = "BAD" in str(query)
        return Response(400, b'{"message":"invalid symbol: BAD"}') if named else None

    with AlpacaLoopback(bars, fault=refuse_bad) as provider:
        config = _alpaca(tmp_path, provider.url, symbols="[AAPL, BAD]")
        done = marketpipe("ingest", "--config", config, cwd=tmp_path)
        again = result_of(marketpipe("ingest", "--config", config, "--json", cwd=tmp_path))

    assert done.returncode == 1
    assert "failed: BAD 2024-03-04" in done.stderr
    assert "1 complete, 1 failed" in done.stdout
    assert [failure["symbol"] for failure in again["failures"]] == ["BAD"]
    assert (again["planned"], again["already_settled"]) == (1, 1)


def test_a_refused_symbol_is_one_line_however_many_days_it_lacks(tmp_path: Path) -> None:
    def refuse_nope(_: int, query: object) -> Response | None:
        return Response(400, b'{"message":"invalid symbol: NOPE"}') if "NOPE" in str(query) else None

    with AlpacaLoopback({"AAPL": [record("2024-03-04T15:00:00Z")]}, fault=refuse_nope) as provider:
        config = _alpaca(tmp_path, provider.url, symbols="[AAPL, NOPE]", end="2024-05-31")
        done = marketpipe("ingest", "--config", config, cwd=tmp_path)

    (line,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert line.startswith("failed: NOPE 2024-03-04 to 2024-05-31 (63 sessions): ")


@pytest.mark.parametrize("command", ["ingest", "update"])
def test_a_symbol_without_any_bar_is_warned_of_even_if_quiet(tmp_path: Path, command: str) -> None:
    bars = {"AAPL": [record("2024-03-04T15:00:00Z")], "APPL": []}
    with AlpacaLoopback(bars) as provider:
        config = _alpaca(tmp_path, provider.url, symbols="[AAPL, APPL]")
        done = marketpipe(command, "--config", config, "--quiet", cwd=tmp_path)
        again = marketpipe(command, "--config", config, "--json", cwd=tmp_path)
        right = marketpipe(command, "--config", config, "--symbols", "AAPL", "--quiet", cwd=tmp_path)

    warning = "warning: the provider has never had a bar of APPL: is the symbol right?\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", warning)
    assert result_of(again)["symbols_without_bars"] == ["APPL"]
    assert (right.returncode, right.stderr) == (0, "")


def test_another_dataset_is_refused_with_both_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SYNTHETIC)
    marketpipe("ingest", "--config", "config.yaml", cwd=tmp_path)
    (tmp_path / "config.yaml").write_text(SYNTHETIC + "synthetic: {seed: 8}\n")

    done = marketpipe("ingest", "--config", "config.yaml", cwd=tmp_path)

    assert done.returncode == 2
    assert "seed-7" in done.stderr
    assert "seed-8" in done.stderr


def test_rejected_bars_go_to_quarantine_with_rule_and_reason_and_their_neighbours_stay(tmp_path: Path) -> None:
    minutes = [record(f"2024-03-04T15:{minute:02d}:00Z") for minute in range(5)]
    minutes[2]["h"], minutes[3]["c"] = 1, None
    with AlpacaLoopback({"AAPL": minutes}) as provider:
        report = result_of(marketpipe("ingest", "--config", _alpaca(tmp_path, provider.url), "--json", cwd=tmp_path))

    quarantine = pq.read_table(next((tmp_path / "quarantine").rglob("day=04.parquet"))).to_pylist()
    assert (report["bars"], report["rejected"], report["complete"]) == (3, 2, 1)
    assert [(row["rule"], row["severity"]) for row in quarantine] == [("high_is_highest", "error"), ("schema", "error")]
    assert json.loads(quarantine[1]["raw"])["c"] is None
    assert len(load_ohlcv("AAPL", "2024-03-04", "2024-03-04", root=tmp_path)) == 3


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = marketpipe("--debug", "ingest", "--config", "nowhere.yaml", cwd=tmp_path)

    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "ConfigurationError" in done.stderr


def test_an_error_has_its_exit_code_although_standard_error_is_closed(tmp_path: Path) -> None:
    shell = f"exec '{sys.executable}' -m marketpipe status --config missing.yaml 2>&-"
    assert run(["sh", "-c", shell], cwd=tmp_path, env=environment()).returncode == 2


def test_keys_may_come_from_a_dotenv_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("APCA_API_KEY_ID=from-file\nAPCA_API_SECRET_KEY=hidden\n")
    dotenv.chmod(0o644)
    with AlpacaLoopback({"AAPL": [record("2024-03-04T15:00:00Z")]}) as provider:
        done = marketpipe(
            "ingest",
            "--config",
            _alpaca(tmp_path, provider.url),
            cwd=tmp_path,
            env={"ALPACA_KEY": "", "ALPACA_SECRET": ""},
        )

    assert done.returncode == 0, done.stderr
    assert provider.headers[0]["apca-api-key-id"] == "from-file"
    assert "warning: .env has credentials in it and can be read by other users: run chmod 600 .env" in done.stderr
    assert "hidden" not in done.stderr
    assert os.environ.get("APCA_API_KEY_ID") != "from-file"


def test_every_query_result_becomes_valid_json(store: Path) -> None:
    sql = "SELECT 'nan'::DOUBLE AS x, '-inf'::DOUBLE AS y, 1.5::DECIMAL(9,2) AS d, '\\xAB'::BLOB AS b, [1, NULL] AS l"
    rows = json.loads(marketpipe("query", sql, "--json", cwd=store).stdout, parse_constant=pytest.fail)

    assert rows == [{"x": None, "y": None, "d": 1.5, "b": "ab", "l": [1, None]}]


@pytest.mark.parametrize("sql", ["SELECT 'infinity'::DATE AS d", "SELECT 1 AS a, 2 AS a"])
def test_a_result_that_json_cannot_represent_is_an_error_message(store: Path, sql: str) -> None:
    done = marketpipe("query", sql, "--json", cwd=store)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_version(tmp_path: Path) -> None:
    assert marketpipe("--version", cwd=tmp_path).stdout.startswith("marketpipe 0.")


def test_a_range_without_a_trading_date_is_pointed_out(tmp_path: Path) -> None:
    words = ("--provider", "synthetic", "--symbols", "AAPL", "--start", "2024-11-23", "--end", "2024-11-24")

    assert "the range contains no trading date" in marketpipe("ingest", *words, cwd=tmp_path).stdout


ENDLESS = "SELECT count(*) FROM range(100000000000) a, range(1000) b"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_query_that_runs_for_ever_ends_with_a_signal(
    store: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    process = start_marketpipe("query", ENDLESS, cwd=store, env={"TMPDIR": str(tmp_path)})
    wait_until(lambda: list(tmp_path.iterdir()))  # its scratch folder: the query begins
    process.send_signal(sent)
    _, errors = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == code
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_command_started_with_nohup_survives_its_terminal(store: Path, tmp_path: Path) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "marketpipe", "query", ENDLESS]
    process = start(command, cwd=store, env=environment({"TMPDIR": str(tmp_path)}))
    wait_until(lambda: list(tmp_path.iterdir()))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=LONGEST_SECONDS)

    assert process.returncode == 143, errors


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [("marketpipe prov", 1, "providers"), ("marketpipe ingest --retry", 2, "--retry-suspect")],
)
def test_the_shell_completes_commands_and_their_options(tmp_path: Path, words: str, place: int, expected: str) -> None:
    typed = {"_MARKETPIPE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}

    assert marketpipe(cwd=tmp_path, env=typed).stdout.split() == [expected]


def test_the_script_for_completion_is_that_of_the_shell_which_asks(tmp_path: Path) -> None:
    asked = f'"{sys.executable}" -m marketpipe --show-completion; true'  # more than one command, or bash would not stay
    shown = run(["bash", "-c", asked], cwd=tmp_path, env=environment())

    assert "_MARKETPIPE_COMPLETE=complete_bash" in shown.stdout, shown
