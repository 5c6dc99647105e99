"""python -m tests.support.plain_cli: a server of ``json_server`` that runs the command line and returns its output.

A request has ``words``, ``cwd`` and ``env``, the complete environment. The response has the exit ``code``, standard
output (``out``) and standard error (``errors``). If the request names pipes for both, the command goes on in a session
of its own, and the response has its ``pid``. ``ended`` then asks for the ``code`` of that process, which is None while
it runs, and ``stopped`` waits until it is stopped.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.support.child_processes import LONGEST_SECONDS
from tests.support.forked_cli import run_forked, start_forked, warm_up
from tests.support.json_server import serve

_codes: dict[int, int] = {}
"""The exit codes of started processes that have ended."""


def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if "ended" in asked:
        return {"code": _code_of(asked["ended"])}
    if "stopped" in asked:
        os.waitid(os.P_PID, asked["stopped"], os.WSTOPPED | os.WNOWAIT)
        return {}
    return _start(**asked) if "out" in asked else _run(**asked)


def _run(words: list[str], cwd: str, env: dict[str, str]) -> Mapping[str, Any]:
    folder = Path(mkdtemp())  # not a TemporaryDirectory: the fork would remove it when it ends as an interpreter does
    try:
        out, errors = folder / "out", folder / "errors"
        code = run_forked(words, cwd, lambda: _prepare(env), out, errors, end=_end_as_an_interpreter_does)
        return {"code": code, "out": out.read_text(), "errors": errors.read_text()}
    finally:
        shutil.rmtree(folder)


def _start(words: list[str], cwd: str, env: dict[str, str], out: str, errors: str) -> Mapping[str, Any]:
    def prepare() -> None:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the requests to this server come from the other
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        _prepare(env)

    with open(out, "w") as output, open(errors, "w") as error_output:
        streams = output.fileno(), error_output.fileno()
        pid = start_forked(words, cwd, prepare, *streams, _end_as_an_interpreter_does)
    _codes.pop(pid, None)  # of an earlier process with this id
    return {"pid": pid}


def _code_of(pid: int) -> int | None:
    """Return it each time: several threads may ask."""
    if pid not in _codes:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        _codes[pid] = os.waitstatus_to_exitcode(status)
    return _codes[pid]


def _prepare(env: Mapping[str, str]) -> None:
    """Do what a new interpreter does at its start."""
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None
    time.tzset()
    signal.alarm(LONGEST_SECONDS)


def _end_as_an_interpreter_does() -> None:
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


if __name__ == "__main__":
    warm_up()
    serve(answer)
