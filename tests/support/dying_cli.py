"""python -m tests.support.dying_cli: runs the real command line again and again, in forks that may be killed.

What takes long, importing, is done once. A line of JSON on standard input says what to run: ``words``, ``cwd`` and
``die_at``, the number of the moment at which the process kills itself with SIGKILL (None: never). Moments are those
before and after every call that changes what is on the disk. A line of JSON answers with the exit ``code``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

CHANGES = {
    "posix": {"fsync", "replace", "rename", "link", "unlink", "utime", "mkdir"},
    None: {"execute", "executemany"},
}


class Death:
    """Counts moments on all threads, and kills the process at one of them."""

    def __init__(self, moment: int) -> None:
        self._left, self._lock = moment, threading.Lock()

    def watch(self) -> None:
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, _: FrameType, event: str, function: Any) -> None:
        if event in ("c_call", "c_return") and function.__name__ in CHANGES.get(function.__module__, ()):
            with self._lock:
                self._left -= 1
                if not self._left:
                    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    import duckdb  # noqa: F401 - what the commands need, loaded before the forks
    import exchange_calendars  # noqa: F401
    import httpx  # noqa: F401
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401

    import marketpipe.cli
    import marketpipe.pipeline
    import marketpipe.terminal.ingestion  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps({"code": _run(asked["words"], asked["cwd"], asked["die_at"])}) + "\n")
        sys.stdout.flush()


def _run(words: list[str], cwd: str, die_at: int | None) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(cwd)
    with Path("output.txt").open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["marketpipe", *words]
    if die_at is not None:
        Death(die_at).watch()
    code = 0
    try:
        from marketpipe.cli import main as command_line

        command_line()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
