"""marketpipe.yaml: the configuration that ``init`` writes, and that commands and ``get`` take if none is named."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

import marketpipe
from tests.support.in_process_cli import run_in_process

DATE = "2024-01-02"
INIT = ("init", "--provider", "synthetic", "--symbols", "AAPL", "--start", DATE, "--end", DATE)
BARS = "timestamp,open,high,low,close,volume\n2024-01-02T15:00:00Z,1.25,1.5,1.25,1.5,5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run_in_process(*INIT, cwd=tmp_path).code == 0
    with (tmp_path / "marketpipe.yaml").open("a") as file:
        file.write("output_path: bars\ntimeframes: []\n")
    return tmp_path


def test_init_ingest_status_and_get_need_no_name_of_a_configuration(folder: Path) -> None:
    ingested = run_in_process("ingest", cwd=folder)
    status = json.loads(run_in_process("status", "--json", "--root", str(folder), cwd=folder.parent).out)
    with contextlib.chdir(folder):
        bars = marketpipe.get("AAPL", DATE, DATE)

    assert (ingested.code, status["symbols"][0]["bars"]) == (0, bars.num_rows)
    assert (folder / "bars" / "symbol=AAPL").is_dir()
    assert not (folder / "data").exists()


def test_a_configuration_that_is_named_wins(folder: Path) -> None:
    text = (folder / "marketpipe.yaml").read_text().replace("bars", "other")
    (folder / "config.yaml").write_text(text)

    assert run_in_process("ingest", "--config", "config.yaml", cwd=folder).code == 0
    assert (folder / "other").is_dir()


@pytest.mark.parametrize("command", ["ingest", "update", "status"])
def test_the_configuration_with_an_unknown_provider_is_named(folder: Path, command: str) -> None:
    file = folder / "marketpipe.yaml"
    file.write_text(file.read_text().replace("provider: synthetic", "provider: syntetic"))
    message = "provider: no provider is called 'syntetic'; did you mean 'synthetic'?"
    with pytest.raises(marketpipe.ConfigurationError) as refused:
        marketpipe.Pipeline.from_config(file)

    assert run_in_process(command, cwd=folder).err == f"error: marketpipe.yaml: {message}\n"
    assert str(refused.value) == f"{file}: {message}"


@pytest.mark.parametrize("command", ["ingest", "plan"])
def test_without_any_configuration_the_ways_to_give_one_are_named(tmp_path: Path, command: str) -> None:
    done = run_in_process(command, "--symbols", "AAPL", cwd=tmp_path)

    assert done.code == 2
    for way in ("no marketpipe.yaml in", "marketpipe init", "--config", "--provider, --start, --end"):
        assert way in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("update",), ("audit", "--sample", "2%")])
def test_what_needs_a_provider_names_the_configuration_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run_in_process(*words, cwd=tmp_path)

    assert done.code == 2
    assert "marketpipe init" in done.err
    assert "--config" in done.err


def test_an_import_takes_it_only_if_it_is_that_of_an_import(folder: Path) -> None:
    (folder / "AAPL.csv").write_text(BARS)
    words = ("import", "AAPL.csv", "--name", "mine", "--symbol", "AAPL", "--output-path", "mine/data")
    beside = run_in_process(*words, cwd=folder)
    text = (folder / "marketpipe.yaml").read_text()
    (folder / "marketpipe.yaml").write_text(text.replace("synthetic", '"import:mine"', 1))
    configured = run_in_process(*words[:2], "--symbol", "AAPL", cwd=folder)

    assert (beside.code, configured.code) == (0, 0), beside.err + configured.err
    assert (folder / "mine" / "data" / "symbol=AAPL").is_dir()
    assert (folder / "bars" / "symbol=AAPL").is_dir()
