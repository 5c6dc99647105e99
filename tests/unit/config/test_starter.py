"""Tests of the text of a new configuration file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marketpipe.config import load_config, starter_text
from marketpipe.config.classes import SECTIONS, known_keys
from tests.unit.config.test_file_keys_and_defaults import DEFAULTS
from tests.unit.config.yaml_texts import value_of


def text_of(symbols: tuple[str, ...] = ("AAPL", "BRK.B"), end: str = "latest") -> str:
    return starter_text("config.yaml", "synthetic", symbols, "2024-01-02", end)


def test_the_file_loads_as_it_is_written(config_file: Path) -> None:
    config_file.write_text(text_of(end="2024-01-05"))
    config = load_config(config_file)

    assert (config.provider, [*map(str, config.symbols)]) == ("synthetic", ["AAPL", "BRK.B"])
    assert (str(config.start), str(config.end)) == ("2024-01-02", "2024-01-05")


def test_a_new_store_keeps_read_copies_and_an_older_file_without_the_key_does_not(config_file: Path) -> None:
    config_file.write_text(text_of())
    assert load_config(config_file).read_copies == "parquet"

    config_file.write_text("".join(line for line in text_of().splitlines(keepends=True) if "read_copies:" not in line))
    assert load_config(config_file).read_copies == "none"


def test_it_shows_every_key_and_the_default_of_each_that_it_does_not_set(config_file: Path) -> None:
    shown = re.sub(r"^#(?=[a-z ] *[a-z_]+:)", "", text_of(), flags=re.MULTILINE)
    config_file.write_text(shown)
    config = load_config(config_file)

    assert {key: value_of(config, key) for key in DEFAULTS} == {**DEFAULTS, "read_copies": "parquet"}
    for key in [*known_keys(type(config)), *(key for kind in SECTIONS.values() for key in known_keys(kind))]:
        assert re.search(rf"^ *{key}:", shown, re.MULTILINE), key


@pytest.mark.parametrize("symbol", ["TRUE", "NULL", "ON", "NO", "Y", "INF", "E5", "BRK.B", "NAN"])
def test_symbols_that_yaml_takes_for_something_else_stay_symbols(config_file: Path, symbol: str) -> None:
    config_file.write_text(text_of((symbol, "AAPL")))

    assert symbol in map(str, load_config(config_file).symbols)
