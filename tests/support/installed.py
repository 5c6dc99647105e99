"""Tests that need a program of the system: skipped where it is not installed, and never in CI."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
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
    "initdb": "postgresql",
    "postgres": "postgresql",
    "ip": "iproute2",
}
"""The package of Debian that has each program. CI installs all of them."""
EXTRAS: Final = {"weed": "servers", "rclone": "servers", "moto_server": "dev"}
"""The extra of this project that has each program. CI installs both."""
REQUIRED: Final = os.environ.get("MARKETPIPE_REQUIRE_SERVERS") == "1"
"""Set in CI: a test whose program is not installed fails instead of being skipped."""
LATER: Final = os.environ.get("MARKETPIPE_SERVERS") == "later"
"""Set by ``make test``: what takes minutes with databases, buckets and browsers is left to ``make test-servers``."""
ONLY: Final = os.environ.get("MARKETPIPE_SERVERS") == "only"
"""Set by ``make test-servers``: of the contracts it runs those of adapters that need a server."""
LEFT: Final = frozenset({"initdb", "postgres", "chromium", "ip", *EXTRAS})
WAITS: Final = "real servers take minutes: 'make test-servers' runs it"


def find_program(name: str) -> str | None:
    """Return where a program is: in the PATH, beside this Python, or where Debian puts the servers of PostgreSQL."""
    return next((found for folder in _folders() if (found := shutil.which(name, path=folder))), None)


def _folders() -> Iterator[str | None]:
    yield None  # the PATH
    yield sysconfig.get_path("scripts")
    versions = [each for each in Path("/usr/lib/postgresql").glob("*/bin") if each.parent.name.isdigit()]
    yield from map(str, sorted(versions, key=lambda each: int(each.parent.name), reverse=True))


def why_not(*programs: str) -> str | None:
    """Return why a test that needs these programs cannot run; None if all are installed."""
    absent = [name for name in programs if find_program(name) is None]
    if not absent:
        return None
    return f"not installed: {', '.join(absent)} ({'; '.join(dict.fromkeys(map(_how_to_install, absent)))})"


def _how_to_install(program: str) -> str:
    extra = EXTRAS.get(program)
    return f"pip install -e '.[{extra}]'" if extra else f"apt-get install {PACKAGES.get(program, program)}"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Mark a test that starts these programs. In CI it runs, and fails as it starts what is not there."""
    reason = why_not(*programs)
    return pytest.mark.skipif(reason is not None and not REQUIRED, reason=reason or "installed")


def require(*programs: str) -> None:
    """Skip the test that runs if it cannot start these programs, and fail it in CI; skip it if servers come later."""
    if LATER and LEFT & {*programs}:
        pytest.skip(WAITS)
    if (reason := why_not(*programs)) is not None:
        (pytest.fail if REQUIRED else pytest.skip)(reason)
