"""python -m tests.support.full_disk_cli: a server of ``json_server`` for which disks are full.

Started in a mount namespace of its own it mounts file systems that no other process sees, and that are gone when it is:
``mount`` names a folder, ``size`` how many KiB it holds, ``inodes`` how many files; ``bind`` one that becomes
``read_only`` or no longer is. Else it is asked for ``words``, ``cwd`` and ``full_at``: the number of the write that
finds no room (None: each does). It answers with the exit ``code`` and with what was ``printed``.
"""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from tests.support.child_processes import run
from tests.support.forked_cli import run_forked, warm_up
from tests.support.json_server import serve

NEEDS_ROOM = {"fsync", "replace", "link", "mkdir", "pwrite", "symlink"}
TAKES_A_LOCK = "_try_once"
"""The function of locks.py that opens the file of a lock, or makes it."""


class NoRoom:
    """Count the writes of all threads, and let one of them fail as on a full disk."""

    def __init__(self, write: int) -> None:
        self._left, self._lock = write, threading.Lock()

    def watch(self) -> None:
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        error = _failure_of(frame, function) if event == "c_call" else None
        if error is not None:
            with self._lock:
                self._left -= 1
                if not self._left:
                    raise error


def _failure_of(frame: FrameType, function: Any) -> Exception | None:
    """Return the error of that call on a full disk; None for a call that needs no space."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, sqlite3.Connection):
        return _sqlite_is_full() if function.__name__ in ("execute", "executemany") else None
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if _is_write(frame, function, owner) else None


def _is_write(frame: FrameType, function: Any, owner: object) -> bool:
    if function.__module__ == "posix":
        opens_lock = function.__name__ == "open" and frame.f_code.co_name == TAKES_A_LOCK
        return function.__name__ in NEEDS_ROOM or opens_lock
    return function.__name__ == "write" and isinstance(owner, io.BufferedWriter)


def _sqlite_is_full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
    return error


def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if "mount" in asked:
        return _mount(**asked)
    return _forbid(**asked) if "bind" in asked else _run(**asked)


def _mount(mount: str, size: int, inodes: int) -> Mapping[str, Any]:
    """A second call changes the size, and no file."""
    again = "remount," if os.path.ismount(mount) else ""
    return _run_command("mount", "-t", "tmpfs", "-o", f"{again}size={size}k,nr_inodes={inodes}", "tmpfs", mount)


def _forbid(bind: str, read_only: bool) -> Mapping[str, Any]:
    if not os.path.ismount(bind):
        run(["mount", "--bind", bind, bind], check=True)
    return _run_command("mount", "-o", f"remount,bind,{'ro' if read_only else 'rw'}", bind)


def _run_command(*command: str) -> Mapping[str, Any]:
    done = run(command)
    return {"code": done.returncode, "printed": done.stderr}


def _run(words: list[str], cwd: str, full_at: int | None = None) -> Mapping[str, Any]:
    watch = NoRoom(full_at).watch if full_at is not None else lambda: None
    with TemporaryDirectory() as folder:
        printed = Path(folder, "printed")
        code = run_forked(words, cwd, watch, printed)
        return {"code": code, "printed": printed.read_text()}


if __name__ == "__main__":
    warm_up()
    serve(answer)
