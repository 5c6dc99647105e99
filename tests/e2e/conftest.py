"""What the tests of killed runs and of full disks share: servers, of which each takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import FullDiskCli
from tests.support.killed_runs import DyingCli, quick_folder


@pytest.fixture(scope="session")
def cli() -> Iterator[DyingCli]:
    with DyingCli("dying_cli") as made:
        yield made


@pytest.fixture(scope="session")
def full_disk_cli() -> Iterator[FullDiskCli]:
    with FullDiskCli() as made:
        yield made


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    with quick_folder(tmp_path) as folder:
        yield folder
