"""Symbols in other spellings, lists and files: the store has each security once, and stored names keep opening."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marketpipe import ConfigurationError, Pipeline, PipelineConfig, Symbol, load_ohlcv
from marketpipe.testing import FakeClock
from tests.support.in_process_cli import run_in_process
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATE, LATER = "2024-01-02", "2024-01-05T12:00:00Z"
CONFIG = f"{{provider: synthetic, symbols: ['@tech'], start: {DATE}, end: {DATE}, timeframes: [], session: regular, "
LISTS = "symbol_lists: {tech: [AAPL, BRK-B]}}"


def stored(root: Path, symbol: str) -> Pipeline:
    provider = ScriptedProvider({symbol: {DATE: minutes(DATE, 5)}})
    return pipeline(config(root, [symbol], DATE, DATE, timeframes=()), provider, FakeClock(LATER))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lists")
    (place / "config.yaml").write_text(CONFIG + LISTS)
    (place / "two.txt").write_text("AAPL # the first\nBRK/B\n")
    assert run_in_process("ingest", "-c", "config.yaml", cwd=place).code == 0
    return place


def covered(folder: Path, *options: str) -> set[str]:
    ended = run_in_process("coverage", "-c", "config.yaml", "--json", *options, cwd=folder)
    assert ended.code == 0, ended.err
    return {each["symbol"] for each in json.loads(ended.out)["symbols"]}


def test_a_configured_hyphen_is_stored_in_the_canonical_form(folder: Path) -> None:
    assert sorted(each.name for each in (folder / "data").iterdir()) == ["symbol=AAPL", "symbol=BRK.B"]


@pytest.mark.parametrize(
    "options",
    [
        ("--symbols", "AAPL", "--symbols", "BRK.B"),
        ("--symbols", "AAPL,BRK B"),
        ("--symbols", "@tech"),
        ("--symbols", "@two.txt"),
        ("--symbols", "@two.txt,AAPL", "--symbols", "BRKb"),
    ],
)
def test_symbols_of_the_command_line_add_up(options: tuple[str, ...], folder: Path) -> None:
    assert covered(folder, *options) == {"AAPL", "BRK.B"}


def test_a_plan_takes_files_and_repeated_options_too(folder: Path) -> None:
    ended = run_in_process(
        "plan", "-c", "config.yaml", "--json", "--symbols", "@two.txt", "--symbols", "SPY", cwd=folder
    )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["planned"] == 1


def test_a_list_that_does_not_exist_is_wrong_usage(folder: Path) -> None:
    ended = run_in_process("coverage", "-c", "config.yaml", "--symbols", "@tehc", cwd=folder)
    assert (ended.code, "did you mean 'tech'" in ended.err) == (2, True)


@pytest.mark.parametrize("spelling", ["BRK.B", "BRK/B", "BRK-B", "BRKb"])
def test_a_security_loads_by_each_of_its_spellings(spelling: str, folder: Path) -> None:
    loaded = load_ohlcv(spelling, DATE, DATE, root=folder)
    assert set(loaded["symbol"].to_pylist()) == {"BRK.B"}


def test_a_store_that_has_a_hyphen_keeps_opening(tmp_path: Path) -> None:
    with stored(tmp_path, "BRK-B") as made:
        assert made.ingest().ok
        assert made.load("BRK-B", DATE, DATE).num_rows == 5
        assert [each.symbol for each in made.coverage().symbols] == [Symbol("BRK-B")]
        assert made.ingest().planned == 0
    with Pipeline(
        PipelineConfig(provider="synthetic", symbols=["BRK-B"], start=DATE, end=DATE, root=tmp_path)
    ) as other:
        assert other.load("BRK-B", DATE, DATE).num_rows == 5


def test_a_provider_of_other_names_is_asked_by_them(tmp_path: Path) -> None:
    with stored(tmp_path, "BTC-USD") as made:
        assert made.ingest().ok
        assert made.load("BTC-USD", DATE, DATE).num_rows == 5


def test_the_library_reads_no_file_for_a_symbol(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("AAPL\n")
    with pytest.raises(ConfigurationError, match="there is no such list"):
        load_ohlcv(f"@{tmp_path}/secret.txt", DATE, DATE, root=tmp_path)
