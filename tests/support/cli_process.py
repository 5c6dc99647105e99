from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYS = {"ALPACA_KEY": "test-key-4711", "ALPACA_SECRET": "test-secret-0815"}


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without anybody's real credentials, and with the tests' own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALPACA", "APCA", "COLUMNS"))}
    return {**kept, **KEYS, **(changes or {})}


def marketpipe(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The real command line, as a process, to its end."""
    command = [sys.executable, "-m", "marketpipe", *words]
    return subprocess.run(
        command, cwd=cwd, env=environment(env), capture_output=True, text=True, timeout=100, check=False
    )


def start_marketpipe(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The same, left running."""
    command = [sys.executable, "-m", "marketpipe", *words]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result_of(process: subprocess.CompletedProcess[str]) -> Any:
    """What --json printed."""
    return json.loads(process.stdout)
