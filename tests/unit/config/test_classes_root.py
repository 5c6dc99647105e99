"""Tests of ``root``: the folder in which the relative paths of a configuration begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.config import StoreConfig, load_config, load_store_config
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from tests.unit.config.yaml_texts import yaml_text

AREAS = ("output", "aggregates", "quarantine", "revisions", "official", "state")


def test_without_a_root_the_paths_stay_as_they_were_written() -> None:
    assert StoreConfig(output_path="bars/data").output_path == Path("bars/data")


@pytest.mark.parametrize("area", AREAS)
def test_each_default_place_is_in_the_root(area: str) -> None:
    assert getattr(StoreConfig(root="/srv/bars"), f"{area}_path").is_relative_to("/srv/bars")


@pytest.mark.parametrize("area", AREAS)
def test_each_given_relative_path_is_in_the_root_and_an_absolute_one_is_not(area: str) -> None:
    named = f"{area}_path"

    assert getattr(StoreConfig(root="/srv/bars", **{named: "x"}), named) == Path("/srv/bars/x")
    assert getattr(StoreConfig(root="/srv/bars", **{named: "/x"}), named) == Path("/x")


def test_a_relative_root_is_that_of_the_current_folder_once() -> None:
    config = StoreConfig(root="bars")
    changed = evolve(config, compression="snappy")

    assert changed.output_path == config.output_path == Path.cwd() / "bars" / "data"


def test_the_former_places_of_a_store_are_in_the_root_too() -> None:
    config = StoreConfig(root="/srv/bars", output_path="data_sip").in_former_places()

    assert config.aggregates_path == Path("/srv/bars/aggregates")


def test_the_argument_wins_over_the_file_whose_own_path_is_not_in_the_root(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml_text({"root": "/in/the/file"}))

    assert load_config(file).output_path == Path("/in/the/file/data")
    assert load_config(file, root="/given").output_path == Path("/given/data")
    assert load_store_config(None, root="/given").output_path == Path("/given/data")


def test_a_root_that_is_a_url_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigurationError, match="root: s3:"):
        StoreConfig(root="s3://bucket")
