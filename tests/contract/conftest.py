from __future__ import annotations

from tests.support.postgres_server import postgres_server
from tests.support.postgres_states import database_with_a_clock, postgres_states, shared_database

__all__ = ["database_with_a_clock", "postgres_server", "postgres_states", "shared_database"]
