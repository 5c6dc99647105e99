"""python -m tests.support.dying_cli: runs the real command line again and again, in forks that may be killed.

What takes long, importing, is done once. A line of JSON on standard input says what to run: ``words``, ``cwd``,
``die_at``, the number of the moment at which the process kills itself with SIGKILL (None: never), and ``die_after``,
the seconds after which it is killed from outside. Moments are those before and after every call that changes what is on
the disk. A line of JSON answers with the exit ``code``.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import sys
import threading
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import marketpipe
from marketpipe.cli import main as command_line

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
    _load_everything()
    _make_calendars()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps({"code": _run(**asked)}) + "\n")
        sys.stdout.flush()


def _load_everything() -> None:
    for module in pkgutil.walk_packages(marketpipe.__path__, "marketpipe."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("duckdb", "exchange_calendars", "httpx", "pyarrow.dataset", "pyarrow.parquet", "rich.progress"):
        importlib.import_module(name)
    with suppress(SystemExit), redirect_stdout(io.StringIO()):
        sys.argv = ["marketpipe", "ingest", "--help"]
        command_line()


def _make_calendars() -> None:
    """The years of the tests' bars and of today: to make one takes longer than all the rest of a run."""
    from marketpipe.shared_kernel.domain.trading_date import TradingDate
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar
    from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock

    today = TradingDate.of(SystemClock().now())
    for date in (TradingDate.parse("2024-03-04"), today.plus_days(-14), today):
        ExchangeCalendar(latest=today).sessions(date, today if date > TradingDate.parse("2024-12-31") else date)


def _run(words: list[str], cwd: str, die_at: int | None, die_after: float | None) -> int:
    child = os.fork()
    if child:
        if die_after is not None:
            time.sleep(die_after)
            os.kill(child, signal.SIGKILL)  # where it has ended already, it waits to be asked how
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
        command_line()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
