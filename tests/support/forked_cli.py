"""Run the real command line many times in forks of one warm process, so that the slow imports happen once.

The parent is a server of ``json_server``, which calls ``warm_up`` before it serves.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

PRINTED = "output.txt"
"""The file with the output of all runs in a folder."""


def warm_up() -> None:
    import anyio  # noqa: F401 - what the commands need, and httpx and typer import late, loaded before the forks
    import duckdb  # noqa: F401
    import h11  # noqa: F401
    import httpx
    import numpy as np
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401
    import rich.console  # noqa: F401

    import marketpipe
    from marketpipe.composition import CALENDAR_DAYS_AHEAD
    from marketpipe.integration.infrastructure.http_exchange import HttpExchange
    from marketpipe.shared_kernel.domain.trading_date import TradingDate
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar
    from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers
    from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
    from marketpipe.testing import sessions

    with suppress(ImportError):
        import typer._adapters  # noqa: F401
    for module in pkgutil.walk_packages(marketpipe.__path__, "marketpipe."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    day_numbers(np.array([0]))
    HttpExchange("http://127.0.0.1", httpx.BasicAuth("", ""))
    sessions("2024-03-04", "2024-03-05")  # making a calendar takes longer than the rest of a run
    today = TradingDate.of(SystemClock().now())
    ExchangeCalendar(latest=today.plus_days(CALENDAR_DAYS_AHEAD)).sessions(today.plus_days(-14), today)
    gc.freeze()


def run_forked(
    words: Sequence[str],
    cwd: str,
    prepare: Callable[[], None],
    printed: Path = Path(PRINTED),
    errors: Path | None = None,
    kill_after: float | None = None,
    end: Callable[[], None] = lambda: None,
) -> int:
    """Call ``prepare``, the command line and ``end`` in a child process.

    Return its exit code, or minus the signal that killed it. Standard output goes to ``printed``; so does standard
    error, unless there is a file ``errors`` for it.
    """
    place = Path(cwd)
    with (place / printed).open("a") as output, (place / (errors or printed)).open("a") as error_output:
        child = start_forked(words, cwd, prepare, output.fileno(), error_output.fileno(), end)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # if it has ended already, it is a zombie until its exit code is read
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start_forked(
    words: Sequence[str], cwd: str, prepare: Callable[[], None], output: int, error_output: int, end: Callable[[], None]
) -> int:
    """Start what ``run_forked`` runs, and return the id of the process. It writes to these file descriptors."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.chdir(cwd)
        os.dup2(output, 1)
        os.dup2(error_output, 2)
        sys.argv = ["marketpipe", *words]
        prepare()
        code = _command_line()
        end()
        sys.stdout.flush()
    finally:
        if code == 70:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            sys.stderr.flush()
        os._exit(code)


def _command_line() -> int:
    from marketpipe.cli import main

    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0
