from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import PipelineConfig, load_config
from marketpipe.config.symbol_lists import expanded, symbols_in
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.shared_kernel.domain.symbol import as_symbols
from tests.unit.config.yaml_texts import LoadText, yaml_text

LISTS = {"tech": as_symbols(["MSFT", "AAPL"])}


@pytest.fixture
def universe(tmp_path: Path) -> Path:
    file = tmp_path / "universe.txt"
    file.write_text("\ufeff# ours\nMSFT\n\n  BRK/B   # Berkshire\nMSFT\n", "utf-8")
    return file


def test_a_file_has_one_symbol_a_line_with_comments_in_any_spelling(universe: Path) -> None:
    assert symbols_in(universe.parent, universe.name) == as_symbols(["MSFT", "BRK.B"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"AAPL\naapl\n", "line 2: 'aapl' is not a symbol"),
        (b"AAPL,MSFT\n", "line 1: 'AAPL,MSFT' is not a symbol"),
        (b"# nothing\n\n", "there is no symbol in it"),
        (b"\xff\xfe", "cannot be read"),
        (b"A\n" * 600_000, "larger than"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_its_name(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as refused:
        symbols_in(tmp_path, file.name)
    assert "list.txt" in str(refused.value)


def test_names_and_files_and_symbols_add_up(universe: Path) -> None:
    found = expanded(["SPY", "@tech", f"@{universe}"], LISTS, Path())
    assert found == as_symbols(["AAPL", "BRK.B", "MSFT", "SPY"])


def test_a_file_is_not_read_for_symbols_that_a_program_passes_on(universe: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such list"):
        expanded([f"@{universe}"], LISTS)


def test_an_unknown_list_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'tech'"):
        expanded("@tehc", LISTS, Path())


def test_a_configuration_takes_a_file_and_a_named_list(universe: Path, load_text: LoadText) -> None:
    lists = f"symbol_lists: {{tech: [AAPL, MSFT], all: '@{universe}'}}\n"
    assert load_text(yaml_text(symbols="'@tech'") + lists).symbols == as_symbols(["AAPL", "MSFT"])
    assert load_text(yaml_text(symbols=f"'@{universe}'")).symbols == as_symbols(["BRK.B", "MSFT"])
    assert load_text(yaml_text(symbols="[SPY, '@all']") + lists).symbols == as_symbols(["BRK.B", "MSFT", "SPY"])


def test_a_relative_file_begins_in_the_root(universe: Path, load_text: LoadText) -> None:
    config = load_text(yaml_text(root=str(universe.parent), symbols="'@universe.txt'"))
    assert config.symbols == as_symbols(["BRK.B", "MSFT"])


def test_an_option_may_name_a_list_of_the_file(load_text: LoadText) -> None:
    config = load_text(yaml_text() + "symbol_lists: {tech: [AAPL, MSFT]}\n", {"symbols": ["@tech", "SPY"]})
    assert config.symbols == as_symbols(["AAPL", "MSFT", "SPY"])


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ("5", "symbol_lists: expected names with symbols"),
        ("{tech: AAPL}", "symbol_lists: tech: expected a list such as"),
        ("{tech: [aapl]}", "symbol_lists: tech: 'aapl' is not a symbol"),
        ("{'a/b': [AAPL]}", "symbol_lists: 'a/b' is no name of a list"),
        ("{tech: '@gone.txt'}", "symbol_lists: tech: the list of symbols 'gone.txt' in /"),
    ],
)
def test_lists_that_are_none_are_refused(lists: str, message: str, load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_text(yaml_text() + f"symbol_lists: {lists}\n")


def test_python_takes_the_same(universe: Path) -> None:
    required: dict[str, Any] = {"provider": "synthetic", "start": "2024-01-02", "end": "2024-01-02"}
    config = PipelineConfig(**required, symbols="@tech", symbol_lists={"tech": ["AAPL"]})
    assert config.symbols == as_symbols(["AAPL"])
    assert load_config(None, {**required, "symbols": [f"@{universe}"]}).symbols == as_symbols(["BRK.B", "MSFT"])
    with pytest.raises(ValidationError):
        expanded(["@tech", "aapl"], LISTS)
