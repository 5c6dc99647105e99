"""The section of a file that bears the name of a third party's provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import PipelineConfig
from marketpipe.config.classes import known_keys
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.unit.config.yaml_texts import LoadText, yaml_text


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("{plan: starter, limit: 5}", {"plan": "starter", "limit": 5}),
        ("{nested: {list: [1, 2.5, on, 2024-01-02]}}", {"nested": {"list": [1, 2.5, "on", "2024-01-02"]}}),
        ("{1: one, api_key: theirs}", {1: "one", "api_key": "theirs"}),
        ("{}", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_section_of_the_provider_is_handed_on_as_it_is(
    section: str | None, options: dict[Any, Any], load_text: LoadText
) -> None:
    config = load_text(yaml_text({"provider": "polygon", "polygon": section}))
    assert config.provider == "polygon"
    assert config.provider_options == options


@pytest.mark.parametrize("section", ["5", "starter", "[a, b]", "false", "''"])
def test_section_of_the_provider_that_is_no_mapping_is_refused(
    section: str, load_text: LoadText, config_file: Path
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_text(yaml_text({"provider": "polygon", "polygon": section}))
    assert str(refusal.value) == f"{config_file}: polygon: expected keys and values"


def test_section_of_another_provider_is_an_unknown_key(load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match="unknown key 'databento'"):
        load_text(yaml_text(provider="polygon", databento="{}"))
    with pytest.raises(ConfigurationError, match="unknown key 'polygon'"):
        load_text(yaml_text(provider="alpaca", polygon="{}"))


def test_overrides_reach_the_section_of_the_provider(load_text: LoadText) -> None:
    text = yaml_text({"provider": "polygon", "polygon": "{plan: starter, limit: 5}"})
    assert load_text(text, {"polygon.limit": 9}).provider_options == {"plan": "starter", "limit": 9}
    assert load_text(yaml_text(), {"provider": "polygon", "polygon.limit": 9}).provider_options == {"limit": 9}


@pytest.mark.parametrize("name", ["alpaca", "synthetic"])
def test_section_of_a_built_in_provider_is_no_option_of_a_third_party(name: str, load_text: LoadText) -> None:
    assert load_text(yaml_text({"provider": name, name: "{}"})).provider_options == {}


def test_section_named_provider_options_belongs_to_a_provider_of_that_name_alone(load_text: LoadText) -> None:
    with pytest.raises(ConfigurationError, match="unknown key 'provider_options'"):
        load_text(yaml_text(provider_options="{plan: starter}"))


@pytest.mark.parametrize("name", [key for key in known_keys(PipelineConfig) if key not in ("alpaca", "synthetic")])
def test_provider_named_like_a_key_does_not_take_that_key_away(name: str, load_text: LoadText) -> None:
    plain = load_text(yaml_text())
    config = load_text(yaml_text({"provider": name}))
    assert config.provider == name
    assert config.provider_options == {}
    assert (config.symbols, config.start, config.workers) == (plain.symbols, plain.start, plain.workers)


def test_repr_names_the_options_and_hides_their_values(load_text: LoadText) -> None:
    config = load_text(yaml_text({"provider": "polygon", "polygon": "{api_key: PKTHEIRS, 1: PKTHEIRS}"}))
    assert "provider_options=<api_key, 1>" in repr(config)
    assert "PKTHEIRS" not in repr(config)
