from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.aggregated_store import aggregated_store
from tests.support.store_on_disk import StoreOnDisk


@pytest.fixture(scope="module")
def aggregated_once(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    return aggregated_store(tmp_path_factory.mktemp("aggregated"))


@pytest.fixture
def store(aggregated_once: StoreOnDisk, tmp_path: Path) -> StoreOnDisk:
    """A copy with its modification times, so that nothing has to be aggregated again. A file may have its own."""
    shutil.copytree(aggregated_once.root, tmp_path, dirs_exist_ok=True)
    return StoreOnDisk(tmp_path)
