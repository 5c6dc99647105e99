"""Run the real command line in processes: in forks of a warm process (faster), or in new interpreters."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.child_processes import CompletedProcess, Popen, run, start
from tests.support.json_server import shared
from tests.support.run_environment import KEYS, environment
from tests.support.started_cli import StartedCli

__all__ = [
    "KEYS",
    "environment",
    "fresh_marketpipe",
    "marketpipe",
    "result_of",
    "start_fresh_marketpipe",
    "start_marketpipe",
]


def marketpipe(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run the command line to its end, in a fork of a process that has imported everything already."""
    answer = shared("plain_cli").ask(words=words, cwd=str(cwd), env=environment(env))
    return CompletedProcess(words, answer["code"], answer["out"], answer["errors"])


def fresh_marketpipe(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run the command line to its end in a new interpreter, as a user's shell does; takes several times as long."""
    return run(_command(words), cwd=cwd, env=environment(env))


def start_marketpipe(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> StartedCli:
    """Start the command line in a fork as well, and leave it running."""
    return StartedCli(shared("plain_cli"), words, cwd, environment(env))


def start_fresh_marketpipe(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> Popen[str]:
    """Start the command line in a new interpreter and leave it running."""
    return start(_command(words), cwd=cwd, env=environment(env))


def _command(words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "marketpipe", *words]


def result_of(process: CompletedProcess[str]) -> Any:
    """Return what --json printed."""
    return json.loads(process.stdout)
