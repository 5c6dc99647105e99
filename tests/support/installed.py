"""Tests that need a program of the system: skipped where it is not installed, and never in CI."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

PACKAGES: Final = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-pushgateway": "prometheus-pushgateway",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "systemd-analyze": "systemd",
    "rsync": "rsync",
    "restic": "restic",
}
"""The package of Debian that has each program. CI installs all of them."""
REQUIRED: Final = os.environ.get("MARKETPIPE_REQUIRE_SERVERS") == "1"
"""Set in CI: a test whose program is not installed fails instead of being skipped."""


def why_not(*programs: str) -> str | None:
    """Return why a test that needs these programs cannot run; None if all are installed."""
    absent = [name for name in programs if shutil.which(name) is None]
    if not absent:
        return None
    packages = " ".join(dict.fromkeys(PACKAGES.get(name, name) for name in absent))
    return f"not installed: {', '.join(absent)} (apt-get install {packages})"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Mark a test that starts these programs. In CI it runs, and fails as it starts what is not there."""
    reason = why_not(*programs)
    return pytest.mark.skipif(reason is not None and not REQUIRED, reason=reason or "installed")


def require(*programs: str) -> None:
    """Skip the test that runs if it cannot start these programs; fail it in CI."""
    if (reason := why_not(*programs)) is not None:
        (pytest.fail if REQUIRED else pytest.skip)(reason)
