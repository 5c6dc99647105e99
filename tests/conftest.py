from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "marketpipe", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("marketpipe")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with real bars and the replay server; where it is absent the test skips."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: no real bars, no replay server")
    return SHARED
