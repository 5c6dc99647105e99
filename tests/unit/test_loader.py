from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.config import PipelineConfig
from marketpipe.loader import found_store
from marketpipe.shared_kernel.domain.errors import ConfigurationError

FILE = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-01-02\nend: latest\noutput_path: bars\n"


def test_the_argument_is_the_store_whatever_the_environment_and_its_file_say(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text(FILE)
    environment = {"MARKETPIPE_ROOT": "/elsewhere", "MARKETPIPE_CONFIG": str(tmp_path / "marketpipe.yaml")}
    assert found_store(tmp_path, environment).output_path == tmp_path / "data"


def test_without_it_the_environment_names_the_folder(tmp_path: Path) -> None:
    assert found_store(None, {"MARKETPIPE_ROOT": str(tmp_path)}).output_path == tmp_path / "data"
    assert found_store(None, {"MARKETPIPE_ROOT": ""}).output_path == Path("data")


def test_a_configuration_that_is_not_there_is_named_with_its_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"^MARKETPIPE_CONFIG: there is no file /.*absent\.yaml"):
        found_store(None, {"MARKETPIPE_CONFIG": "absent.yaml"})


@pytest.mark.parametrize("named", [True, False])
def test_the_configuration_that_get_takes_has_the_place_of_the_store(tmp_path: Path, named: bool) -> None:
    file = tmp_path / ("other.yaml" if named else "marketpipe.yaml")
    file.write_text(FILE)
    found = found_store(None, {"MARKETPIPE_ROOT": str(tmp_path)} | ({"MARKETPIPE_CONFIG": str(file)} if named else {}))
    assert isinstance(found, PipelineConfig)
    assert found.output_path == tmp_path / "bars"


def test_an_output_path_of_another_name_is_a_store(tmp_path: Path) -> None:
    (tmp_path / "symbol=AAPL").mkdir()
    assert found_store(None, {"MARKETPIPE_ROOT": str(tmp_path)}).output_path == tmp_path
    with pytest.raises(ConfigurationError, match="root"):
        found_store("s3://bucket", {})
