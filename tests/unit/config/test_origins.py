"""Tests of where each value of a configuration comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import StoreConfig, load_config, values_in_force
from marketpipe.config.classes import PipelineConfig, known_keys
from marketpipe.config.origins import Origin, ValueInForce
from tests.unit.config.yaml_texts import yaml_text


def found(file: Path, overrides: dict[str, Any], **environment: str) -> dict[str, ValueInForce]:
    config = load_config(file, overrides, root=file.parent)
    return {each.key: each for each in values_in_force(config, file, overrides, environment)}


def test_each_value_names_option_file_or_default(config_file: Path) -> None:
    config_file.write_text(yaml_text({"alpaca.feed": "iex", "workers": "2", "compression": "snappy"}))
    values = found(config_file, {"workers": 7, "alpaca.asof": "2024-01-02"})

    assert (values["workers"].value, values["workers"].origin) == (7, Origin.OPTION)
    assert (values["alpaca.asof"].value, values["alpaca.asof"].origin) == ("2024-01-02", Origin.OPTION)
    assert (values["alpaca.feed"].value, values["alpaca.feed"].origin) == ("iex", Origin.FILE)
    assert values["compression"].origin == Origin.FILE
    assert (values["metrics.port"].value, values["metrics.port"].origin) == (8000, Origin.DEFAULT)


def test_a_scheduler_that_another_executor_leaves_out_is_not_of_the_file(config_file: Path) -> None:
    config_file.write_text(yaml_text({"executor": "dask", "scheduler": "tls://h:8786"}))

    assert found(config_file, {"executor": "threads"})["scheduler"] == ValueInForce("scheduler", None, Origin.DEFAULT)


def test_every_key_is_there_once_and_can_become_json(config_file: Path) -> None:
    halts = "[{date: 2024-06-03, from: 09:50, to: 11:35, symbols: [BRK.A]}]"
    config_file.write_text(yaml_text({"calendar.halts": halts, "validation.severities": "{no_gap: warning}"}))
    values = values_in_force(load_config(config_file), config_file, {}, {})
    keys = [each.key for each in values]

    assert len(keys) == len(set(keys))
    assert {key.partition(".")[0] for key in keys} >= set(known_keys(PipelineConfig))
    assert "BRK.A" in json.dumps([each.value for each in values])


def test_paths_are_absolute(config_file: Path) -> None:
    config_file.write_text(yaml_text({"output_path": "bars"}))

    assert found(config_file, {})["output_path"].value == str(config_file.parent / "bars")


def test_of_a_store_without_a_provider_the_required_keys_are_not_set() -> None:
    values = {each.key: each for each in values_in_force(StoreConfig(), None, {}, {})}

    assert values["symbols"] == ValueInForce("symbols", None, Origin.NOWHERE)


@pytest.mark.parametrize(
    ("environment", "dotenv", "expected"),
    [
        ({"ALPACA_KEY": "public", "ALPACA_SECRET": "hidden"}, "", Origin.ENVIRONMENT),
        ({}, "APCA_API_KEY_ID=public\nAPCA_API_SECRET_KEY=hidden\n", Origin.DOTENV),
        ({"ALPACA_KEY": "public"}, "", Origin.NOWHERE),
    ],
)
def test_of_credentials_only_the_place_is_shown(
    config_file: Path, environment: dict[str, str], dotenv: str, expected: Origin
) -> None:
    config_file.write_text(yaml_text({"provider": "alpaca"}))
    (config_file.parent / ".env").write_text(dotenv)
    values = found(config_file, {}, **environment)

    assert [*values.values()][-1].origin == expected
    assert "hidden" not in str(values)
    assert "public" not in str(values)


def test_the_halves_of_a_pair_from_two_places_are_shown_with_theirs(config_file: Path) -> None:
    config_file.write_text(yaml_text({"provider": "alpaca"}))
    (config_file.parent / ".env").write_text("ALPACA_KEY=hidden\nALPACA_SECRET=hidden\n")
    values = found(config_file, {}, ALPACA_KEY="public")

    assert values["ALPACA_KEY"].origin == Origin.ENVIRONMENT
    assert values["ALPACA_SECRET"].origin == Origin.DOTENV


def test_of_the_section_of_a_plugin_only_the_keys_are_shown(config_file: Path) -> None:
    config_file.write_text(yaml_text({"provider": "acme"}) + "\nacme: {url: hidden}\n")
    values = found(config_file, {})

    assert values["acme.url"].origin == Origin.FILE
    assert "hidden" not in str(values)


def test_of_half_a_pair_of_credentials_each_name_is_shown(config_file: Path) -> None:
    config_file.write_text(yaml_text({"provider": "alpaca"}))
    (config_file.parent / ".env").write_text("ALPACA_SECRET=hidden\n")
    values = found(config_file, {})

    assert (values["ALPACA_SECRET"].origin, values["ALPACA_KEY"].origin) == (Origin.DOTENV, Origin.NOWHERE)
    assert "hidden" not in str(values)
