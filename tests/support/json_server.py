"""Warm processes that answer lines of JSON, because starting an interpreter takes most of the time of a short run.

A server is a module of ``tests.support`` that calls ``serve``; ``JsonServer`` is its client.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.support.child_processes import PIPE, start
from tests.support.run_environment import environment

ROOT: Final = Path(__file__).parents[2]

_shared: dict[str, JsonServer] = {}


class JsonServer:
    """A context manager around a server; ``before`` has the command and arguments that start it."""

    def __init__(self, module: str, before: Sequence[str] = ()) -> None:
        command = [*before, sys.executable, "-m", f"tests.support.{module}"]
        self._process = start(command, outlives_test=True, cwd=ROOT, env=environment(), stdin=PIPE, stderr=None)
        self._one_at_a_time = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **asked: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, f"{self._process.args} ended without an answer"
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def shared(module: str) -> JsonServer:
    """Return the server that all tests of this process share; ``close_shared`` ends it."""
    if module not in _shared:
        _shared[module] = JsonServer(module)
    return _shared[module]


def close_shared() -> None:
    while _shared:
        _shared.popitem()[1].close()


def serve(answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Answer each line of JSON on standard input with one on standard output, until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
