from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import PipelineConfig, load_config
from tests.unit.config.yaml_texts import LoadText


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def load_text(config_file: Path) -> LoadText:
    def load(text: str | bytes, overrides: Mapping[str, Any] | None = None) -> PipelineConfig:
        config_file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(config_file, overrides)

    return load
