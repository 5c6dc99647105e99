"""Tests with real servers take minutes: ``make test`` skips them, ``make test-servers`` and CI run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.installed import LATER, WAITS
from tests.support.postgres_server import database_url, postgres_server
from tests.support.s3_servers import bucket_server, moto, rclone, s3_server, seaweed

__all__ = ["bucket_server", "database_url", "moto", "postgres_server", "rclone", "s3_server", "seaweed"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if LATER:
        later = pytest.mark.skip(reason=WAITS)
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(later)
