"""Tests of ``init`` and ``config show``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from typer.testing import CliRunner, Result

from marketpipe.cli import app_for
from marketpipe.config import load_config

FLAGS = ("init", "--provider", "synthetic", "--symbols", "BRK/B,AAPL", "--start", "2024-01-02")


def run(folder: Path, words: Sequence[str], answers: str = "") -> Result:
    with contextlib.chdir(folder):
        return CliRunner().invoke(app_for(words), words, input=answers)


def test_init_asks_three_questions_and_repeats_one_whose_answer_is_not_valid(tmp_path: Path) -> None:
    done = run(tmp_path, ["init"], "acme\nsynthetic\n!\nAAPL, BRK.B\n2024-02-30\n2024-01-02\n")

    assert done.exit_code == 0, done.output
    config = load_config(tmp_path / "marketpipe.yaml")
    assert (config.provider, str(config.start), config.end) == ("synthetic", "2024-01-02", "latest")
    assert [*map(str, config.symbols)] == ["AAPL", "BRK.B"]
    assert done.output.endswith("'marketpipe plan', and 'marketpipe ingest'\n")


def test_init_without_an_answer_puts_its_error_on_a_line_of_its_own(tmp_path: Path) -> None:
    done = run(tmp_path, ["init"])

    assert (done.exit_code, "\nerror: no answer could be read" in done.output) == (2, True), done.output


def test_init_with_options_asks_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, [*FLAGS, "bars.yaml"])

    assert done.exit_code == 0, done.output
    assert [*map(str, load_config(tmp_path / "bars.yaml").symbols)] == ["AAPL", "BRK.B"]
    assert done.output.endswith("'marketpipe plan --config bars.yaml', and 'marketpipe ingest --config bars.yaml'\n")


def test_init_replaces_a_file_only_if_it_is_forced(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text("mine")
    refused = run(tmp_path, FLAGS)
    kept = (tmp_path / "marketpipe.yaml").read_text()
    forced = run(tmp_path, [*FLAGS, "--force"])

    assert (refused.exit_code, kept) == (2, "mine")
    assert "--force" in refused.output
    assert forced.exit_code == 0
    assert load_config(tmp_path / "marketpipe.yaml").provider == "synthetic"


def test_init_without_answers_names_the_options_and_writes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, ["init"])

    assert done.exit_code == 2
    assert "--symbols" in done.output
    assert [*tmp_path.iterdir()] == []


def test_init_refuses_what_does_not_load(tmp_path: Path) -> None:
    assert run(tmp_path, [*FLAGS, "--end", "2023-01-02"]).exit_code == 2
    assert run(tmp_path, [*FLAGS, "missing/config.yaml"]).exit_code == 2
    assert [*tmp_path.iterdir()] == []


def test_config_show_names_values_and_origins_and_makes_nothing(tmp_path: Path) -> None:
    run(tmp_path, FLAGS)
    done = run(tmp_path, ["config", "show", "--workers", "2", "--json"])

    shown = {row["key"]: (row["value"], row["from"]) for row in json.loads(done.output)}
    assert (shown["workers"], shown["provider"]) == ((2, "option"), ("synthetic", "file"))
    assert shown["output_path"] == (str(tmp_path / "data"), "default")
    assert [path.name for path in tmp_path.iterdir()] == ["marketpipe.yaml"]


def test_config_show_prints_a_table(tmp_path: Path) -> None:
    run(tmp_path, FLAGS)
    text = run(tmp_path, ["config", "show"]).output

    assert str(tmp_path / "marketpipe.yaml") in text
    rows = [line.split() for line in text.splitlines()]
    assert ["symbols", "AAPL,", "BRK.B", "file"] in rows
    assert ["coverage.stop_bars", "9", "default"] in rows


def test_config_show_refuses_a_configuration_that_an_ingestion_refuses(tmp_path: Path) -> None:
    run(tmp_path, FLAGS)

    assert run(tmp_path, ["config", "show", "--provider", "acme"]).exit_code == 2
