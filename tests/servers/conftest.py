from __future__ import annotations

from tests.support.postgres_server import database_url, postgres_server
from tests.support.s3_servers import moto, rclone, s3_server, seaweed

__all__ = ["database_url", "moto", "postgres_server", "rclone", "s3_server", "seaweed"]
