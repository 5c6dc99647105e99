"""--root, --quiet, --verbose, --log-format and repeated options, with real commands on a small store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli_process import marketpipe
from tests.support.in_process_cli import Ended, run_in_process

CONFIG = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-01-02\nend: 2024-01-02\ntimeframes: [1d]\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with a configuration, and nothing stored yet."""
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def ingest(store: Path, *words: str) -> Ended:
    return run_in_process("ingest", "--config", "config.yaml", *words, cwd=store)


def test_with_a_root_a_command_works_as_if_it_was_started_there(store: Path) -> None:
    elsewhere = store.parent / "elsewhere"
    elsewhere.mkdir()
    done = run_in_process("--root", "../store", "ingest", "--config", "config.yaml", cwd=elsewhere)
    status = run_in_process("status", "--json", "--root", str(store), cwd=elsewhere)

    assert done.code == 0
    assert list(elsewhere.iterdir()) == []
    assert (store / "data" / "symbol=AAPL").is_dir()
    assert json.loads(status.out)["symbols"][0]["complete"] == 1


@pytest.mark.parametrize("words", [("status", "--root", ""), ("--root", " ", "status")])
def test_an_empty_root_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = run_in_process(*words, cwd=tmp_path)

    assert ended.code == 2
    assert "the name is empty: give a folder" in " ".join(ended.err.split())


def test_a_root_that_does_not_exist_is_made_for_a_new_store_alone(tmp_path: Path) -> None:
    asked = ("--provider", "synthetic", "--symbols", "AAPL", "--start", "2024-01-02")
    new = ("--root", "a/new")  # with its parents
    refused = [
        run_in_process("ingest", *asked, "--end", "2024-01-01", *new, cwd=tmp_path),
        run_in_process("status", *new, cwd=tmp_path),
    ]
    left = list(tmp_path.iterdir())
    done = run_in_process("ingest", *asked, "--end", "2024-01-02", *new, cwd=tmp_path)

    assert ([each.code for each in refused], left, done.code) == ([2, 2], [], 0)
    assert (tmp_path / "a" / "new" / "data" / "symbol=AAPL").is_dir()


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--config", "gone"),
        ("import", "gone", "--name", "x", "--symbol", "A"),
        ("verify", "--lock", "gone"),
    ],
)
def test_a_file_that_does_not_exist_is_named_with_the_folder_it_was_looked_for_in(
    store: Path, words: tuple[str, ...]
) -> None:
    done = run_in_process(*words, "--root", "store", cwd=store.parent)

    assert (done.code, f"{store / 'gone'}" in done.err, "[Errno" in done.err) == (2, True, False)


def test_symbols_that_are_repeated_add_up(store: Path) -> None:
    done = ingest(store, "--symbols", "AAPL", "--symbols", "MSFT,IBM", "--json")

    assert json.loads(done.out)["complete"] == 3


def test_quiet_prints_nothing_of_what_goes_well_and_names_what_fails(store: Path) -> None:
    assert ingest(store, "--quiet") == Ended(0, "", "")
    assert run_in_process("validate", "-q", cwd=store) == Ended(0, "", "")
    assert run_in_process("export", "bars.csv", "-q", cwd=store) == Ended(0, "", "")
    assert run_in_process("query", "SELECT 42 AS n", "-q", "--json", cwd=store).out  # what was asked to be seen
    next((store / "data").rglob("day=02.parquet")).write_bytes(b"damaged")

    done = run_in_process("validate", "-q", cwd=store)

    assert done.code == 1
    assert "damaged: AAPL 2024-01-02" in done.err
    assert json.loads(ingest(store, "-q", "--json").out)["complete"] == 1


def test_verbose_shows_the_log_on_standard_error(store: Path) -> None:
    assert "INFO marketpipe.ingestion: job 1: completed" in ingest(store, "-v").err


def test_every_record_of_the_log_is_one_line_of_json(store: Path) -> None:
    done = marketpipe("ingest", "--config", "config.yaml", "--log-format", "json", "-v", cwd=store)

    messages = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert messages.count("job 1: completed") == 1


def test_standard_error_is_json_only_if_it_is_asked_for(store: Path) -> None:
    good = ingest(store, "--log-format", "json", "-v")
    bad = ingest(store, "--log-format", "json", "--workers", "0")

    assert [json.loads(line)["message"] for line in good.err.splitlines()][-1] == "job 1: completed"
    assert bad.code == 2
    [line] = map(json.loads, bad.err.splitlines())
    assert line["level"] == "error"
    assert "workers" in line["message"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--log-format", "json", "ingest", "--worker", "2"), "--workers"),
        (("ingset", "--log-format=json"), "ingest"),
        (("query", "--log-format=json"), "sql"),
    ],
)
def test_a_command_line_that_cannot_be_parsed_is_json(tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    done = marketpipe(*words, cwd=tmp_path)

    [line] = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, line["level"]) == (2, "error")
    assert expected in line["message"].lower()
