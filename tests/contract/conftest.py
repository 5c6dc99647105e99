from __future__ import annotations

import pytest

from tests.support.installed import ONLY
from tests.support.postgres_server import postgres_server
from tests.support.postgres_states import database_with_a_clock, postgres_states, shared_database

__all__ = ["database_with_a_clock", "postgres_server", "postgres_states", "shared_database"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``make test`` has run all contracts that need no server: ``make test-servers`` does not run them again."""
    if ONLY:
        left = [item for item in items if item.nodeid.startswith("tests/contract/") and not needs_a_server(item)]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in {*left}]


def needs_a_server(item: pytest.Item) -> bool:
    """True if it asks for a server by a fixture, or by a parameter that is called after it."""
    return "postgres" in f"{item.name} {getattr(item, 'fixturenames', ())}"
