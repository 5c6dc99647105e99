"""Tests that need a program of the system: skipped where it is not installed, and never in CI."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

REQUIRED: Final = os.environ.get("MARKETPIPE_REQUIRE_SERVERS") == "1"
"""Set in CI, which installs them: a test whose program is not installed then fails instead of being skipped."""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Mark a test that starts these programs."""
    absent = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(
        bool(absent) and not REQUIRED, reason=f"not installed: {', '.join(absent)} (Debian: apt-get install …)"
    )
