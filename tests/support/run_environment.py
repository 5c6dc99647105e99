"""The environment of the processes that tests start."""

from __future__ import annotations

import os
from collections.abc import Mapping

KEYS = {"ALPACA_KEY": "test-key-4711", "ALPACA_SECRET": "test-secret-0815"}


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, with credentials for tests instead of real ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALPACA", "APCA", "COLUMNS"))}
    return {**kept, **KEYS, **(changes or {})}
