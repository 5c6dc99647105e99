"""Run the command line in this process: fast enough for hundreds of examples, and uncaught errors reach the test."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from attrs import frozen

from marketpipe.unneeded_imports import allow_all_imports

LONGEST_SECONDS = 60
NO_KEYS = ("ALPACA_KEY", "ALPACA_SECRET", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY")


class HangError(BaseException):
    """The command hangs. Not an ``Exception``, so that no ``except Exception`` catches it."""


@frozen
class Ended:
    code: int
    out: str
    err: str

    def is_clean(self) -> bool:
        return self.code in (0, 1, 2) and "Traceback" not in self.out + self.err


def run_in_process(*words: str, cwd: Path) -> Ended:
    """Run the command line without credentials, and with the parent of ``cwd`` as the home folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with _as_a_process_of_its_own(list(words), cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        from marketpipe.cli import main

        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_a_process_of_its_own(words: list[str], cwd: Path) -> Iterator[None]:
    """Restore afterwards what the command line sets for the whole process."""
    argv, variables, heard = sys.argv, dict(os.environ), logging.getLogger("marketpipe.config").handlers[:]
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ.update(HOME=str(cwd.parent), COLUMNS="80")
    for name in NO_KEYS:
        os.environ.pop(name, None)
    sys.argv = ["marketpipe", *words]
    try:
        with contextlib.chdir(cwd), within(LONGEST_SECONDS):
            yield
    finally:
        sys.argv = argv
        allow_all_imports()
        os.environ.clear()
        os.environ.update(variables)
        logging.getLogger("marketpipe.config").handlers[:] = heard
        for number, handler in signals.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ``HangError`` on this thread, which must be the main one, if the block takes longer."""

    def stop(_: int, frame: FrameType | None) -> None:
        raise HangError(f"still at work after {seconds} s, in {frame}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
