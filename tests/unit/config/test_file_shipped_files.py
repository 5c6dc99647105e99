from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from marketpipe.config import load_config, load_store_config
from marketpipe.config.classes import SECTIONS, known_keys
from marketpipe.provider_registry import BUILT_IN
from tests.unit.config.test_file_keys_and_defaults import DEFAULTS
from tests.unit.config.yaml_texts import value_of

FOLDER = Path(__file__).parents[3] / "config"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_example_that_needs_no_keys_is_shipped() -> None:
    assert "example_config.yaml" in [file.name for file in FILES]
    assert load_config(FOLDER / "example_config.yaml").provider == "synthetic"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shipped_file_loads(file: Path) -> None:
    config = load_config(file)
    assert config.provider in BUILT_IN
    assert load_store_config(file) == config


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shipped_file_writes_below_the_current_folder(file: Path) -> None:
    config = load_config(file)
    paths = (config.output_path, config.aggregates_path, config.quarantine_path, config.state_path)
    assert not any(path.is_absolute() or ".." in path.parts for path in paths)


def test_alpaca_file_shows_every_key_with_its_default() -> None:
    file = FOLDER / "alpaca.yaml"
    if not file.exists():
        pytest.skip("there is no config/alpaca.yaml")
    config, written = load_config(file), yaml.safe_load(file.read_text())
    assert {key: value_of(config, key) for key in DEFAULTS} == DEFAULTS
    assert set(written) == set(known_keys(type(config)))
    for section, kind in SECTIONS.items():
        assert list(written[section]) == known_keys(kind)
