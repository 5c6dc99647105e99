"""Tests with real servers take minutes: ``make test`` leaves them out, ``make test-servers`` and CI run them."""

from __future__ import annotations

from tests.support.installed import LATER
from tests.support.postgres_server import database_url, postgres_server
from tests.support.s3_servers import bucket_server, moto, rclone, s3_server, seaweed

__all__ = ["bucket_server", "database_url", "moto", "postgres_server", "rclone", "s3_server", "seaweed"]

collect_ignore_glob = ["test_*.py"] if LATER else []
"""Not even imported: the packages that they need take a second, in each process that runs tests."""
