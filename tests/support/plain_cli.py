"""python -m tests.support.plain_cli: a server of ``json_server`` that runs the command line and returns its output.

A request has ``words``, ``cwd`` and ``env``, the complete environment. The response has the exit ``code``, standard
output (``out``) and standard error (``errors``).
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.support.child_processes import LONGEST_SECONDS
from tests.support.forked_cli import run_forked, warm_up
from tests.support.json_server import serve


def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    def prepare() -> None:
        """Do what a new interpreter does at its start."""
        os.environ.clear()
        os.environ.update(asked["env"])
        tempfile.tempdir = None
        time.tzset()
        signal.alarm(LONGEST_SECONDS)

    folder = Path(mkdtemp())  # not a TemporaryDirectory: the fork would remove it when it ends as an interpreter does
    try:
        out, errors = folder / "out", folder / "errors"
        code = run_forked(asked["words"], asked["cwd"], prepare, out, errors, end=_end_as_an_interpreter_does)
        return {"code": code, "out": out.read_text(), "errors": errors.read_text()}
    finally:
        shutil.rmtree(folder)


def _end_as_an_interpreter_does() -> None:
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


if __name__ == "__main__":
    warm_up()
    serve(answer)
