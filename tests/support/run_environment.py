"""The environment that tests give to the processes they start."""

from __future__ import annotations

import os
from collections.abc import Mapping

KEYS = {"ALPACA_KEY": "test-key-4711", "ALPACA_SECRET": "test-secret-0815"}


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with the tests' own credentials in the place of real ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALPACA", "APCA", "COLUMNS"))}
    return {**kept, **KEYS, **(changes or {})}
