from __future__ import annotations

from tests.support.postgres_server import database_url, postgres_server

__all__ = ["database_url", "postgres_server"]
