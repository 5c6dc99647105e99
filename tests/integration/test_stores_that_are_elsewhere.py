"""A configuration that is named from another folder than that of its store: no command takes nothing for a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marketpipe import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.support.in_process_cli import run_in_process

DAY = "2024-11-25"
SETTINGS = f"provider: synthetic\nsymbols: [AAPL]\nstart: {DAY}\nend: {DAY}\ntimeframes: []\n"
CONFIG = ("-c", "../store/marketpipe.yaml")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    for name in ("store", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "store" / "marketpipe.yaml").write_text(SETTINGS)
    return tmp_path / "elsewhere"


def test_coverage_says_that_there_is_no_store_and_where_it_looked(elsewhere: Path) -> None:
    for options in ((), ("--json",)):
        ended = run_in_process("coverage", *CONFIG, *options, cwd=elsewhere)
        assert ended.code == 1
        assert f"warning: there is no store at {elsewhere / 'data'}" in ended.err
        assert "relative paths begin in the current folder, or in root (--root)" in ended.err
    assert json.loads(ended.out)["complete"] is False
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("words", [("verify",), ("freeze",), ("export", "bars.csv")])
def test_other_commands_refuse_with_the_whole_path(elsewhere: Path, words: tuple[str, ...]) -> None:
    ended = run_in_process(*words, *CONFIG, cwd=elsewhere)
    assert (ended.code, f"there is no store at {elsewhere / 'data'}" in ended.err) == (2, True), ended.err


def test_the_status_names_where_nothing_is_stored(elsewhere: Path) -> None:
    ended = run_in_process("status", *CONFIG, cwd=elsewhere)
    assert (ended.code, ended.out.strip()) == (0, f"nothing is stored at {elsewhere / 'data'} yet")


def test_symbols_that_are_only_configured_are_no_empty_table(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere)
    with Pipeline.from_config(CONFIG[1]) as pipeline, pytest.raises(ConfigurationError, match="there is no store at"):
        pipeline.load("AAPL", DAY, DAY)


def test_nothing_is_said_where_the_store_is(elsewhere: Path) -> None:
    store = elsewhere.parent / "store"
    assert run_in_process("ingest", "-q", cwd=store).code == 0
    ended = run_in_process("coverage", cwd=store)
    assert (ended.code, "no store" in ended.err) == (0, False)
