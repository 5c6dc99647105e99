"""python -m tests.support.dying_cli: a server of ``json_server`` whose forks may be killed.

A request has ``words``, ``cwd``, ``die_at``, the number of the moment at which the process kills itself with SIGKILL
(None: never), and ``die_after``, the seconds after which it is killed from outside. There is a moment before and one
after every call that changes something on the disk. The response has the exit ``code``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

from tests.support.forked_cli import run_forked, warm_up
from tests.support.json_server import serve

CHANGES = {
    "posix": {"write", "fsync", "replace", "rename", "link", "unlink", "utime", "mkdir", "rmdir"},
    None: {"execute", "executemany"},
}
EXCHANGE = "exchange_folders"
"""The name of our function whose system call is one of ctypes, which no profiler sees."""


class Death:
    """Count the moments of all threads, and kill the process at one of them."""

    def __init__(self, moment: int) -> None:
        self._left, self._lock = moment, threading.Lock()

    def watch(self) -> None:
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        exchanges = event in ("call", "return") and frame.f_code.co_name == EXCHANGE
        called = event in ("c_call", "c_return") and function.__name__ in CHANGES.get(function.__module__, ())
        if exchanges or called:
            with self._lock:
                self._left -= 1
                if not self._left:
                    os.kill(os.getpid(), signal.SIGKILL)


def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    moment = asked["die_at"]
    watch = Death(moment).watch if moment is not None else lambda: None
    return {"code": run_forked(asked["words"], asked["cwd"], watch, kill_after=asked["die_after"])}


if __name__ == "__main__":
    warm_up()
    serve(answer)
