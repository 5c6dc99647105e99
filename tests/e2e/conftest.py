"""What the tests of killed runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.killed_runs import DyingCli, quick_folder


@pytest.fixture(scope="module")
def cli() -> Iterator[DyingCli]:
    with DyingCli("dying_cli") as made:
        yield made


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    with quick_folder(tmp_path) as folder:
        yield folder
