"""Text that is not a symbol is refused everywhere before anything is changed; folders with such names are ignored."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import cycle

import pytest
import typer
import yaml

from marketpipe import Pipeline, ValidationError, load_ohlcv
from marketpipe.cli import COMMANDS as TABLE
from marketpipe.cli import app_for
from tests.support.in_process_cli import run_in_process
from tests.support.nasty import NO_SYMBOLS, ODD_SYMBOLS, joined
from tests.support.pipeline_ring import contents
from tests.support.watched_folder import WatchedFolder

CONFIG = {
    "provider": "synthetic",
    "symbols": ["AAPL"],
    "start": "2024-01-02",
    "end": "2024-01-02",
    "timeframes": ["1d"],
}
COMMANDS = typer.main.get_group(app_for(TABLE)).commands
TAKING_SYMBOLS = sorted(
    name
    for name, command in COMMANDS.items()
    if {"--symbols", "--config"} <= {spelling for option in command.params for spelling in option.opts}
)
FOUND = [name for name in NO_SYMBOLS if name and "/" not in name and name not in (".", "..") and len(name) < 200]
"""The texts that can be in the name of a folder."""
LIBRARY: list[Callable[[Pipeline, str], object]] = [
    lambda store, name: store.load(name, "2024-01-02", "2024-01-02"),
    lambda store, name: store.plan([name]),
    lambda store, name: store.ingest([name]),
    lambda store, name: store.update([name]),
    lambda store, name: store.audit([name]),
    lambda store, name: store.coverage([name]),
    lambda store, name: store.verify([name]),
    lambda store, name: store.freeze([name]),
    lambda store, name: store.validate([name]),
    lambda store, name: store.aggregate([name]),
]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> WatchedFolder:
    template = tmp_path_factory.mktemp("template")
    (template / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    assert run_in_process("ingest", "--config", "config.yaml", cwd=template).code == 0
    return WatchedFolder(tmp_path_factory.mktemp("watched") / "root", template)


def test_text_that_is_no_symbol_is_refused_by_every_command(watched: WatchedFolder) -> None:
    watched.begin()
    watched.look()
    commands = cycle(TAKING_SYMBOLS)
    for name in [
        name for name in NO_SYMBOLS if name == name.strip(" \t\r\n\u00a0")
    ]:  # empty parts between commas are ignored
        command = next(commands)
        files = ["new.csv" for each in COMMANDS[command].params if each.param_type_name == "argument"]
        words = [command, *files, "--config", "config.yaml", "--symbols", f"AAPL,{name}"]
        ended = run_in_process(*words, cwd=watched.cwd)
        assert (ended.code, ended.out) == (2, ""), (command, name)
        assert "is not a symbol" in ended.err
    assert not watched.changed()


def test_text_that_is_no_symbol_is_refused_in_a_configuration(watched: WatchedFolder) -> None:
    watched.begin()
    for name in NO_SYMBOLS:
        text = yaml.safe_dump({**CONFIG, "symbols": ["AAPL", name]}, allow_unicode=True)
        (watched.cwd / "other.yaml").write_text(text, "utf-8")
        watched.look()
        ended = run_in_process("ingest", "--config", "other.yaml", cwd=watched.cwd)
        assert (ended.code, ended.out) == (2, ""), name
        assert ended.err.startswith("error: other.yaml: ")
        assert not watched.changed()


def test_text_that_is_no_symbol_is_refused_by_the_library(watched: WatchedFolder) -> None:
    watched.begin()
    watched.look()
    calls = cycle(LIBRARY)
    with watched.inside(), Pipeline.from_config("config.yaml") as store:
        for name in NO_SYMBOLS:
            with pytest.raises(ValidationError, match="is not a symbol"):
                next(calls)(store, name)
            with pytest.raises(ValidationError, match="is not a symbol"):
                load_ohlcv(name, "2024-01-02", "2024-01-02", root=watched.cwd)
    assert not watched.changed()


def test_unusual_symbols_work_like_any_other(watched: WatchedFolder) -> None:
    watched.begin()
    words = ("--config", "config.yaml", "--symbols", joined(ODD_SYMBOLS))
    for command in ("ingest", "coverage", "verify", "validate", "freeze"):
        ended = run_in_process(command, *words, cwd=watched.cwd)
        assert ended.code == 0, ended
    bars = load_ohlcv(ODD_SYMBOLS, "2024-01-02", "2024-01-02", root=watched.cwd)
    assert bars["symbol"].unique().to_pylist() == sorted(ODD_SYMBOLS)
    days = load_ohlcv(ODD_SYMBOLS, "2024-01-02", "2024-01-02", "1d", root=watched.cwd)
    assert days["symbol"].to_pylist() == sorted(ODD_SYMBOLS)


def test_folders_whose_name_is_no_symbol_are_foreign_and_change_nothing(watched: WatchedFolder) -> None:
    watched.begin()
    alone = {words: run_in_process(*words, cwd=watched.cwd) for words in (("status",), ("coverage",), ("validate",))}
    day = (watched.cwd / "data/symbol=AAPL/year=2024/month=01/day=02.parquet").read_bytes()
    for area in ("data", "quarantine", "revisions", "aggregates/timeframe=1d"):
        for name in [*FOUND, os.fsdecode(b"\xff\xfe")]:
            folder = watched.cwd / area / f"symbol={name}" / "year=2024" / "month=01"
            folder.mkdir(parents=True)
            if not area.startswith("agg"):
                (folder / "day=02.parquet").write_bytes(day)
    before = contents(watched.cwd)

    for words, ended in alone.items():
        assert run_in_process(*words, cwd=watched.cwd) == ended
    for words in (["plan"], ["aggregate"], ["ingest"], ["audit", "--sample", "100%"], ["metrics"]):
        assert run_in_process(*words, "--config", "config.yaml", cwd=watched.cwd).code == 0, words
    for words in (
        ["verify"],
        ["verify", "--json"],
        ["query", "SELECT count(*) FROM bars"],
        ["freeze"],
        ["status", "--json"],
    ):
        assert run_in_process(*words, cwd=watched.cwd).is_clean(), words
    assert "symbol=../" not in run_in_process("verify", cwd=watched.cwd).out
    assert contents(watched.cwd) == before
    shutil.rmtree(watched.cwd / "state")
    assert run_in_process("recover", cwd=watched.cwd).is_clean()
    assert run_in_process("status", cwd=watched.cwd).code == 0
