"""python -m tests.support.dying_cli: a server of ``json_server`` whose forks may be killed.

A request has ``words``, ``cwd``, ``die_at``, the number of the moment at which the process kills itself with SIGKILL
(None: never), and ``die_after``, the seconds after which it is killed from outside. The response has the exit ``code``.

There is a moment after every call that changes what the next process finds on the disk, one before each writing, when
the file may be new and empty, and one inside of every transaction. There is none for what outlives no process: reading,
syncing, and what is written in a transaction that is still open. Not seen are what SQLite changes when it closes or
makes its log, and what is put into a bucket.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

from tests.support.forked_cli import run_forked, warm_up
from tests.support.json_server import serve

WRITES = {"write", "pwrite"}
CHANGES = {
    *WRITES,
    *("replace", "rename", "link", "unlink", "utime", "mkdir", "rmdir", "truncate", "ftruncate"),
    *("chmod", "fchmod", "chown", "fchown", "setxattr", "removexattr"),
}
STATEMENTS = {"execute", "executemany"}
EXCHANGE = "exchange_folders"
"""The name of our function whose system call is one of ctypes, which no profiler sees."""


class Death:
    """Count the moments of all threads, and kill the process at one of them."""

    def __init__(self, moment: int) -> None:
        self._left, self._lock = moment, threading.Lock()
        self._before = threading.local()

    def watch(self) -> None:
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "return":
            is_moment = frame.f_code.co_name == EXCHANGE
        elif event in ("c_call", "c_return") and function.__module__ == "posix":
            is_moment = function.__name__ in (CHANGES if event == "c_return" else WRITES)
        elif event in ("c_call", "c_return") and function.__name__ in STATEMENTS:
            is_moment = self._begins_ends_or_changes(event, getattr(function, "__self__", None))
        else:
            return
        if is_moment:
            with self._lock:
                self._left -= 1
                if not self._left:
                    os.kill(os.getpid(), signal.SIGKILL)

    def _begins_ends_or_changes(self, event: str, owner: Any) -> bool:
        """Return whether a statement has begun or ended a transaction, or changed something outside of one."""
        connection = owner.connection if isinstance(owner, sqlite3.Cursor) else owner
        if not isinstance(connection, sqlite3.Connection):
            return False
        found = connection.in_transaction, connection.total_changes
        if event == "c_call":
            self._before.found = found
            return False
        (was_open, before), (is_open, changes) = self._before.found, found
        return was_open != is_open or (not is_open and before != changes)


def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    moment = asked["die_at"]
    watch = Death(moment).watch if moment is not None else lambda: None
    return {"code": run_forked(asked["words"], asked["cwd"], watch, kill_after=asked["die_after"])}


if __name__ == "__main__":
    warm_up()
    serve(answer)
